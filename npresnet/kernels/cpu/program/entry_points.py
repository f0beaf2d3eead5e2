"""The kernels as a :class:`.thread_pool.Team` runs them: ``kernel(arguments, item, work)``.

``arguments`` is the address of integers: what the kernel's first lines name, tuples spread out.  ``work`` is the
address of the thread's workspace.
"""

import numpy as np

from .. import pointwise
from ..codegen.jit import inlined
from ..codegen.tile import NONE
from ..codegen.vector import floats, longs
from ..conv.band import band, pooled_band
from ..conv.grouped import grouped_rows
from ..conv.product import product_block
from ..conv.winograd import winograd_block
from ..pool import mean, pool_rows

PIXELS = 128             # in one item of a step that touches every float once


@inlined
def _four(a, k):
    return a[k], a[k + 1], a[k + 2], a[k + 3]


@inlined
def _eight(a, k):
    return a[k], a[k + 1], a[k + 2], a[k + 3], a[k + 4], a[k + 5], a[k + 6], a[k + 7]


@inlined
def _floor(relu):
    return np.float32(0) if relu else np.float32(-np.inf)


def product(arguments, item, work):
    """A block of pixels of a 1x1 convolution, see :mod:`.product`."""
    a = longs(arguments, 18)
    x, shape, stride, w, bias, y, out_shape = a[0], _four(a, 1), (a[5], a[6]), a[7], a[8], a[9], _four(a, 10)
    residual, relu, block, splits = _four(a, 14)
    delta, first = residual - y if residual != 0 else NONE, item // splits * block
    n = min(block, out_shape[0] * out_shape[1] * out_shape[2] - first)
    product_block(x, shape, stride, w, bias, y, out_shape, delta, _floor(relu), first, n, item % splits, splits)


def convolution(arguments, item, work):
    """A band of any convolution, see :mod:`.band`."""
    a = longs(arguments, 29)
    x, shape, strides, window, groups = a[0], _four(a, 1), _four(a, 5), _eight(a, 9), a[17]
    w, bias, y, out_shape = a[18], a[19], a[20], _four(a, 21)
    residual, relu, rows, splits = _four(a, 25)
    band(x, shape, strides, window, groups, w, bias, y, out_shape, residual, _floor(relu), rows, splits, item, work)


def pooled_convolution(arguments, item, work):
    """A band of the stem with its max-pool, see :mod:`.band`."""
    a = longs(arguments, 36)
    x, shape, strides, window, w, bias = a[0], _four(a, 1), _four(a, 5), _eight(a, 9), a[17], a[18]
    middle, relu, pool, y, out_shape, rows = (a[19], a[20]), a[21], _eight(a, 22), a[30], _four(a, 31), a[35]
    pooled_band(x, shape, strides, window, w, bias, middle, _floor(relu), pool, y, out_shape, rows, item, work)


def winograd2(arguments, item, work):
    """A block of tiles by F(2x2, 3x3), see :mod:`.winograd`."""
    _winograd(2, arguments, item, work)


def winograd4(arguments, item, work):
    """A block of tiles by F(4x4, 3x3), see :mod:`.winograd`."""
    _winograd(4, arguments, item, work)


@inlined
def _winograd(m, arguments, item, work):
    a = longs(arguments, 19)
    x, shape, padding, u, bias, y, out_shape = a[0], _four(a, 1), (a[5], a[6]), a[7], a[8], a[9], _four(a, 10)
    residual, relu, block, splits = _four(a, 14)
    winograd_block(m, x, shape, padding, u, bias, y, out_shape, residual, _floor(relu), block, splits, item, work,
                   a[18])


def grouped4(arguments, item, work):
    """Rows of a 3x3 convolution with groups of 4, see :mod:`.grouped`."""
    _grouped(4, arguments, item, work)


def grouped8(arguments, item, work):
    """Rows of a 3x3 convolution with groups of 8."""
    _grouped(8, arguments, item, work)


def grouped16(arguments, item, work):
    """Rows of a 3x3 convolution with groups of 16."""
    _grouped(16, arguments, item, work)


@inlined
def _grouped(group, arguments, item, work):
    a = longs(arguments, 18)
    x, shape, stride, padding, w, bias, y = a[0], _four(a, 1), a[5], (a[6], a[7]), a[8], a[9], a[10]
    out_shape, relu, rows, zeros = _four(a, 11), a[15], a[16], a[17]
    grouped_rows(group, x, shape, stride, padding, w, bias, y, out_shape, _floor(relu), rows, item, zeros, work)


def max_pool(arguments, item, work):
    """A row of :func:`npresnet.ops.max_pool2d`, see :mod:`.pool`."""
    a = longs(arguments, 18)
    x, (_, h, w, c), window, y, (_, oh, ow, _) = a[0], _four(a, 1), _eight(a, 5), a[13], _four(a, 14)
    image, p = item // oh, item % oh
    pool_rows(x + image * h * w * c * 4, h, w, c, window, y + image * oh * ow * c * 4, ow, p, p + 1)


def global_mean(arguments, item, work):
    """One image of :func:`npresnet.ops.global_avg_pool2d`."""
    x, pixels, c, y = _four(longs(arguments, 4), 0)
    mean(x + item * pixels * c * 4, pixels, c, floats(y + item * c * 4, c))


def affine(arguments, item, work):
    """A few pixels of a batch norm in evaluation, see :mod:`.pointwise`."""
    x, pixels, c, scale, shift, relu, y, _ = _eight(longs(arguments, 8), 0)
    for m in range(item * PIXELS, min(pixels, (item + 1) * PIXELS)):
        at = m * c * 4
        pointwise.affine(floats(x + at, c), floats(scale, c), floats(shift, c), _floor(relu), floats(y + at, c))


def add(arguments, item, work):
    """A few pixels of a residual sum, see :mod:`.pointwise`."""
    x, z, pixels, c, relu, y, _, _ = _eight(longs(arguments, 8), 0)
    for m in range(item * PIXELS, min(pixels, (item + 1) * PIXELS)):
        at = m * c * 4
        pointwise.add(floats(x + at, c), floats(z + at, c), _floor(relu), floats(y + at, c))


def subsample(arguments, item, work):
    """A row of shortcut A, see :mod:`.pointwise`."""
    a = longs(arguments, 14)
    x, (_, h, w, c), channels, (sh, sw), before = a[0], _four(a, 1), a[5], (a[6], a[7]), a[8]
    y, (_, oh, ow, f) = a[9], _four(a, 10)
    image, p = item // oh, item % oh
    for q in range(ow):
        source = x + ((image * h + p * sh) * w + q * sw) * c * 4
        pointwise.place(floats(source, channels), before, floats(y + (item * ow + q) * f * 4, f))
