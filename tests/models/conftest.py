"""The libraries whose networks these are."""

from ..support.libraries import keras, library, tf_keras, torch  # noqa: F401
