"""Small images to train on."""

from ..support.drawn import model, source  # noqa: F401
