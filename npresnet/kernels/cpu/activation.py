"""ReLU over memory as it lies, whatever its order."""

import numpy as np
from numba import njit, prange

from ...ops.activation import relu
from .compiled import parallel
from .vector import floats

PART = 16384           # floats in a work item


@relu.register("numba")
def relu_numba(x):
    """Equals :func:`npresnet.ops.relu`.

    Saves: y.
    """
    if not (isinstance(x, np.ndarray) and x.dtype == np.float32 and _dense(x) and len(x) > 1):
        return relu.reference(x)
    y = np.empty_like(x)                                     # keeps the order of the axes in memory
    _cut(x.ctypes.data, x.size, y.ctypes.data)

    def pullback(dy):
        if dy.dtype != np.float32 or dy.strides != y.strides:
            return np.where(y > 0, dy, np.float32(0))
        dx = np.empty_like(y)
        _mask(y.ctypes.data, dy.ctypes.data, y.size, dx.ctypes.data)
        return dx

    return y, pullback


def _dense(x) -> bool:
    """Whether x fills its memory without gaps or steps backwards, in some order of its axes."""
    if x.ndim == 0 or min(x.strides) < 0:
        return False
    return x.transpose(sorted(range(x.ndim), key=lambda axis: -x.strides[axis])).flags.c_contiguous \
        and np.empty_like(x).strides == x.strides


@parallel
def _cut(x, n, y):
    for start in prange((n + PART - 1) // PART):
        count = min(PART, n - start * PART)
        _cut_part(floats(x + start * PART * 4, count), floats(y + start * PART * 4, count))


@njit
def _cut_part(x, y):
    for k in range(len(x)):
        y[k] = np.float32(0) if x[k] < 0 else x[k]           # a NaN stays


@parallel
def _mask(y, dy, n, dx):
    for start in prange((n + PART - 1) // PART):
        at, count = start * PART * 4, min(PART, n - start * PART)
        _mask_part(floats(y + at, count), floats(dy + at, count), floats(dx + at, count))


@njit
def _mask_part(y, dy, dx):
    for k in range(len(y)):
        g = dy[k]                                            # read in any case: a choice of two values vectorizes
        dx[k] = g if y[k] > 0 else np.float32(0)
