"""Small images to train on."""

from ..support.drawn import model, source  # noqa: F401
from ..support.libraries import library, torch  # noqa: F401
