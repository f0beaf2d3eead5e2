"""Hostile files, and a watch over what reading them does."""

from ..support.hostile import harmless, refused, warm  # noqa: F401
