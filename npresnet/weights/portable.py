"""portable: an array as files hold it."""

from typing import Any

import numpy as np

from ..formats.errors import WeightsError, printable, quoted
from ..formats.tensors import MAX_DIMENSIONS, TORCH_NAMES


def portable(name: object, value: Any) -> np.ndarray:
    """The array on the CPU, in C order, little-endian."""
    try:
        array = np.asarray(value.get() if hasattr(value, "get") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{quoted(name)} is no array: {printable(error)}") from None
    if type(name) is not str or array.dtype.newbyteorder("=") not in TORCH_NAMES:
        raise WeightsError(f"{name!r} is an array of {array.dtype}; only named arrays of numbers are written")
    if array.ndim > MAX_DIMENSIONS:
        raise WeightsError(f"{name!r} has {array.ndim} dimensions; up to {MAX_DIMENSIONS} are written")
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
