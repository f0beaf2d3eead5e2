"""The Python version of CIFAR: pickles of a dictionary with an array of bytes and a list of numbers.

They go through the reader of ``npresnet.weights``, which executes nothing; the allow-list is what NumPy's arrays need.
"""

import numpy as np

from ..formats.errors import WeightsError
from ..formats.unpickle.stack_machine import Buildable
from ..formats.unpickle.unpickle import unpickle

PIXELS = 3 * 32 * 32


def unpickled(data, label):
    """The Python version: a dictionary with an array and a list."""
    tree = unpickle(data, globals=NUMPY_GLOBALS, encoding=None)
    if not isinstance(tree, dict):
        raise WeightsError("the pickle holds no dictionary")
    tree = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in tree.items()}
    pixels, labels = getattr(tree.get("data"), "value", None), tree.get(label)
    if not isinstance(labels, list) or any(type(value) is not int for value in labels):
        raise WeightsError(f"no list of numbers under {label!r}")
    if pixels is None or pixels.shape != (len(labels), PIXELS):
        raise WeightsError(f"no array ({len(labels)}, {PIXELS}) of bytes under 'data'")
    return pixels, np.array(labels, np.int64)


class Array(Buildable):
    """What a pickled uint8 array becomes."""

    value = None

    def build(self, state):
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, Bytes) or fortran or type(data) is not bytes:
            raise WeightsError("an array is not of plain bytes")
        self.value = np.frombuffer(data, np.uint8).reshape(shape)


class Bytes(Buildable):
    """numpy.dtype("u1"), the only one there is."""

    def __init__(self, code, *flags):
        if code not in (b"u1", "u1"):
            raise WeightsError(f"the dtype {code!r} is not that of pixels")

    def build(self, state):
        pass


def never(*args):
    raise WeightsError("ndarray is not called by a pickled array")


NUMPY_GLOBALS = {
    "numpy ndarray": never,
    "numpy dtype": Bytes,
    "numpy.core.multiarray _reconstruct": lambda *what: Array(),
    "numpy._core.multiarray _reconstruct": lambda *what: Array(),
}
