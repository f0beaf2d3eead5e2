"""ReLU, leaky ReLU and the residual sum, over memory as it lies, whatever the order of its axes."""

from typing import Any

import numpy as np

from ...backend import Array, Pullback, must_run_each_time
from ...ops.activation import leaky_relu, relu
from ...ops.add import add
from .arrays import empty_like, is_float32
from .codegen.jit import inlined
from .codegen.vector import floats
from .program.entry_point import Address, EntryPoint, Shared, entry_point, run

PART = 8192            # floats in a work item


def supports_relu(x) -> bool:
    """A batch in float32 without gaps in memory."""
    return is_float32(x) and _dense(x) and len(x) > 1


@relu.register("numba", supports_relu)
def relu_numba(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.relu`.

    Saves: y.
    """
    y = empty_like(x)
    over(rectify, x, y)

    def pullback(dy):
        if dy.dtype != np.float32 or dy.strides != y.strides:
            must_run_each_time("a ReLU's dy in another order in memory")
            return np.where(y > 0, dy, np.float32(0))
        dx = empty_like(y)
        over(mask, y, dy, dx)
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
    y, slope = empty_like(x), np.array([negative_slope], np.float32)
    over(leak, x, slope, y)

    def pullback(dy):
        if dy.strides != y.strides:
            must_run_each_time("a ReLU's dy in another order in memory")
            return np.where(y > 0, dy, slope[0] * dy)
        dx = empty_like(y)
        over(leaky_mask, y, dy, slope, dx)
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
    over(total, a, b, y)
    return y, lambda dy: (dy, dy)


def _dense(x) -> bool:
    """Whether x fills its memory without gaps or negative steps, in some order of its axes."""
    if x.ndim == 0 or min(x.strides) < 0:
        return False
    return x.transpose(sorted(range(x.ndim), key=lambda axis: -x.strides[axis])).flags.c_contiguous \
        and empty_like(x).strides == x.strides


def parts(n: int) -> int:
    """The work items of n floats."""
    return -(-n // PART)


def over(kernel: EntryPoint, x: Array, *others: Any) -> None:
    """Run an elementwise kernel over arrays like x, image by image where these follow each other in memory."""
    if x.strides[0] * len(x) == x.nbytes:
        size = x.size // len(x)
        run(kernel.by_image(len(x), parts(size), x, size, *others))
    else:
        kernel(parts(x.size), x, x.size, *others)


@inlined
def part_of(item, n):
    """(bytes before a work item, its floats), of images of n floats each."""
    pieces = (n + PART - 1) // PART
    first = item % pieces * PART
    return (item // pieces * n + first) * 4, min(PART, n - first)


@entry_point
def rectify(item, work, x: Address, n: int, y: Address):
    """y = max(0, x)."""
    at, count = part_of(item, n)
    _rectify(floats(x + at, count), floats(y + at, count))


@inlined
def _rectify(x, y):
    for k in range(len(x)):
        y[k] = np.float32(0) if x[k] < 0 else x[k]           # a NaN stays


@entry_point
def total(item, work, a: Address, n: int, b: Address, y: Address):
    """y = a + b."""
    at, count = part_of(item, n)
    _total(floats(a + at, count), floats(b + at, count), floats(y + at, count))


@inlined
def _total(a, b, y):
    for k in range(len(y)):
        y[k] = a[k] + b[k]


@entry_point
def mask(item, work, y: Address, n: int, dy: Address, dx: Address):
    """dx = dy where y > 0, else 0."""
    at, count = part_of(item, n)
    _mask(floats(y + at, count), floats(dy + at, count), floats(dx + at, count))


@inlined
def _mask(y, dy, dx):
    for k in range(len(y)):
        g = dy[k]                                            # read in any case: a choice of two values vectorizes
        dx[k] = g if y[k] > 0 else np.float32(0)


@entry_point
def leak(item, work, x: Address, n: int, slope: Shared, y: Address):
    """y = x where x > 0, else slope·x."""
    at, count = part_of(item, n)
    _leak(floats(x + at, count), floats(slope, 1)[0], floats(y + at, count))


@inlined
def _leak(x, slope, y):
    for k in range(len(x)):
        v = x[k]
        y[k] = v if v > 0 else slope * v


@entry_point
def leaky_mask(item, work, y: Address, n: int, dy: Address, slope: Shared, dx: Address):
    """dx = dy where y > 0, else slope·dy."""
    at, count = part_of(item, n)
    _leaky_mask(floats(y + at, count), floats(dy + at, count), floats(slope, 1)[0], floats(dx + at, count))


@inlined
def _leaky_mask(y, dy, slope, dx):
    for k in range(len(y)):
        g = dy[k]
        dx[k] = g if y[k] > 0 else slope * g
