"""The Python version of CIFAR: pickles of a dictionary with an array of bytes and a list of numbers.

They are read by the unpickler of ``npresnet.formats``, which executes nothing; it allows what NumPy's arrays need.
"""

from typing import Any

import numpy as np

from ..backend import Array
from ..formats.errors import WeightsError
from ..formats.unpickle.stack_machine import Buildable
from ..formats.unpickle.unpickle import unpickle

PIXELS = 3 * 32 * 32


def unpickled(data: bytes, label: str) -> tuple[Array, Array]:
    """(pixels (n, 3072) uint8, labels (n,) int64) of one pickle, whose key ``label`` holds the labels."""
    tree = unpickle(data, globals=NUMPY_GLOBALS, encoding=None)
    if not isinstance(tree, dict):
        raise WeightsError("the pickle does not hold a dictionary")
    tree = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in tree.items()}
    pixels, labels = getattr(tree.get("data"), "value", None), tree.get(label)
    if not isinstance(labels, list) or any(type(value) is not int for value in labels):
        raise WeightsError(f"no list of numbers under {label!r}")
    if pixels is None or pixels.shape != (len(labels), PIXELS):
        raise WeightsError(f"no array ({len(labels)}, {PIXELS}) of bytes under 'data'")
    return pixels, np.array(labels, np.int64)


class PickledArray(Buildable):
    """What a pickled uint8 array becomes: ``value``."""

    value: Array | None = None

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, PickledDtype) or fortran or type(data) is not bytes:
            raise WeightsError("an array is not of plain bytes")
        self.value = np.frombuffer(data, np.uint8).reshape(shape)


class PickledDtype(Buildable):
    """numpy.dtype("u1"), the only dtype that is accepted."""

    def __init__(self, code: Any, *flags: Any):
        if code not in (b"u1", "u1"):
            raise WeightsError(f"the dtype {code!r} is not that of pixels")

    def build(self, state: Any) -> None:
        pass


def refuse_call(*args: Any):
    raise WeightsError("ndarray is not called by a pickled array")


NUMPY_GLOBALS = {
    "numpy ndarray": refuse_call,
    "numpy dtype": PickledDtype,
    "numpy.core.multiarray _reconstruct": lambda *what: PickledArray(),
    "numpy._core.multiarray _reconstruct": lambda *what: PickledArray(),
}
