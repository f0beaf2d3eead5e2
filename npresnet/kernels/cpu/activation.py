"""ReLU, leaky ReLU and the residual sum, over memory as it lies, whatever the order of its axes."""

import numpy as np
from numba import njit, prange

from ...backend import Array, Pullback
from ...ops.activation import leaky_relu, relu
from ...ops.add import add
from .arrays import empty_like, is_float32
from .codegen.jit import parallel
from .codegen.vector import floats

PART = 16384           # floats in a work item


def supports_relu(x) -> bool:
    """A batch in float32 without gaps in memory."""
    return is_float32(x) and _dense(x) and len(x) > 1


@relu.register("numba", supports_relu)
def relu_numba(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.relu`.

    Saves: y.
    """
    y = empty_like(x)
    _relu(x, x.size, y)

    def pullback(dy):
        if dy.dtype != np.float32 or dy.strides != y.strides:
            return np.where(y > 0, dy, np.float32(0))
        dx = empty_like(y)
        _mask(y, dy, y.size, dx)
        return dx

    return y, pullback


def supports_leaky_relu(x, *, negative_slope=0.01) -> bool:
    """As :func:`supports_relu`."""
    return supports_relu(x)


@leaky_relu.register("numba", supports_leaky_relu)
def leaky_relu_numba(x: Array, *, negative_slope: float = 0.01) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.leaky_relu`.

    Saves: y.
    """
    y, slope = empty_like(x), np.float32(negative_slope)
    _leaky_relu(x, x.size, slope, y)

    def pullback(dy):
        if dy.strides != y.strides:
            return np.where(y > 0, dy, slope * dy)
        dx = empty_like(y)
        _leaky_mask(y, dy, y.size, slope, dx)
        return dx

    return y, pullback


def supports_add(a, b) -> bool:
    """Two batches in float32, in the same order in memory and without gaps."""
    return is_float32(a, b) and a.shape == b.shape and a.strides == b.strides and a.size > 0 and len(a) > 1 \
        and _dense(a)


@add.register("numba", supports_add)
def add_numba(a: Array, b: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.add`.

    Saves: nothing.
    """
    y = empty_like(a)
    _sum(a, b, a.size, y)
    return y, lambda dy: (dy, dy)


def _dense(x) -> bool:
    """Whether x fills its memory without gaps or negative steps, in some order of its axes."""
    if x.ndim == 0 or min(x.strides) < 0:
        return False
    return x.transpose(sorted(range(x.ndim), key=lambda axis: -x.strides[axis])).flags.c_contiguous \
        and empty_like(x).strides == x.strides


@parallel
def _relu(x, n, y):
    for start in prange((n + PART - 1) // PART):
        count = min(PART, n - start * PART)
        _relu_part(floats(x + start * PART * 4, count), floats(y + start * PART * 4, count))


@njit
def _relu_part(x, y):
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


@parallel
def _leaky_relu(x, n, slope, y):
    for start in prange((n + PART - 1) // PART):
        at, count = start * PART * 4, min(PART, n - start * PART)
        leaky_relu_part(floats(x + at, count), slope, floats(y + at, count))


@njit
def leaky_relu_part(x, slope, y):
    """y = x where x > 0, else slope·x."""
    for k in range(len(x)):
        v = x[k]
        y[k] = v if v > 0 else slope * v


@parallel
def _leaky_mask(y, dy, n, slope, dx):
    for start in prange((n + PART - 1) // PART):
        at, count = start * PART * 4, min(PART, n - start * PART)
        _leaky_mask_part(floats(y + at, count), floats(dy + at, count), slope, floats(dx + at, count))


@njit
def _leaky_mask_part(y, dy, slope, dx):
    for k in range(len(y)):
        g = dy[k]
        dx[k] = g if y[k] > 0 else slope * g
