"""Hostile files, and the libraries whose weights are read."""

from ..support.hostile import refused, warm  # noqa: F401
from ..support.libraries import keras, library, tf_keras, torch  # noqa: F401
