"""Hostile files, and a watch over what reading them does."""

from ..support.hostile import refused, warm  # noqa: F401
