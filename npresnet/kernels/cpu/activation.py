"""ReLU and sum over memory as it lies, whatever its order."""

import numpy as np
from numba import njit, prange

from ...ops.activation import relu
from ...ops.add import add
from .arrays import empty_like
from .codegen.jit import parallel
from .codegen.vector import floats

PART = 16384           # floats in a work item


@relu.register("numba")
def relu_numba(x):
    """Equals :func:`npresnet.ops.relu`.

    Saves: y.
    """
    if not (isinstance(x, np.ndarray) and x.dtype == np.float32 and _dense(x) and len(x) > 1):
        return relu.reference(x)
    y = empty_like(x)
    _cut(x, x.size, y)

    def pullback(dy):
        if dy.dtype != np.float32 or dy.strides != y.strides:
            return np.where(y > 0, dy, np.float32(0))
        dx = empty_like(y)
        _mask(y, dy, y.size, dx)
        return dx

    return y, pullback


@add.register("numba")
def add_numba(a, b):
    """Equals :func:`npresnet.ops.add`.

    Saves: nothing.
    """
    arrays = all(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in (a, b))
    if not (arrays and a.shape == b.shape and a.strides == b.strides and a.size and len(a) > 1 and _dense(a)):
        return add.reference(a, b)
    y = empty_like(a)
    _sum(a, b, a.size, y)
    return y, lambda dy: (dy, dy)


def _dense(x) -> bool:
    """Whether x fills its memory without gaps or steps backwards, in some order of its axes."""
    if x.ndim == 0 or min(x.strides) < 0:
        return False
    return x.transpose(sorted(range(x.ndim), key=lambda axis: -x.strides[axis])).flags.c_contiguous \
        and empty_like(x).strides == x.strides


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
def _sum(a, b, n, y):
    for start in prange((n + PART - 1) // PART):
        at, count = start * PART * 4, min(PART, n - start * PART)
        _sum_part(floats(a + at, count), floats(b + at, count), floats(y + at, count))


@njit
def _sum_part(a, b, y):
    for k in range(len(y)):
        y[k] = a[k] + b[k]


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
