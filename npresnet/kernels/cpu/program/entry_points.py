"""The kernels as the thread pool runs them: ``kernel(arguments, item, work)``.

``arguments`` is the address of the NamedTuple of :mod:`.arguments` that the kernel's first line names, ``item`` the
number of the work item, ``work`` the address of the thread's workspace.
"""

import numpy as np

from .. import pointwise
from ..activation import leaky_relu_part
from ..codegen.jit import inlined
from ..codegen.tile import NONE
from ..codegen.vector import floats
from ..conv.band import band, pooled_band
from ..conv.grouped import grouped_rows
from ..conv.product import product_block
from ..conv.winograd import winograd_block
from ..group_norm import WORK, normalize_block
from ..pool import mean, pool_rows
from ..smooth import gelu_part, silu_part
from .arguments import (
    Add,
    Affine,
    Convolution,
    Grouped,
    GroupNorm,
    MaxPool,
    Mean,
    Pointwise,
    PooledConvolution,
    Product,
    Subsample,
    Winograd,
    read,
)

PIXELS = 128             # in one item of a step that touches every float once
FLOATS = 8192            # in one item of an activation


@inlined
def _floor(relu):
    return np.float32(0) if relu else np.float32(-np.inf)


def product(arguments, item, work):
    """A block of pixels of a 1x1 convolution, see :mod:`..conv.product`."""
    a = read(Product, arguments)
    delta, first = a.residual - a.y if a.residual != 0 else NONE, item // a.splits * a.block
    n = min(a.block, a.out_shape[0] * a.out_shape[1] * a.out_shape[2] - first)
    product_block(a.x, a.shape, a.stride, a.w, a.bias, a.y, a.out_shape, delta, _floor(a.relu), first, n,
                  item % a.splits, a.splits)


def convolution(arguments, item, work):
    """A band of any convolution, see :mod:`..conv.band`."""
    a = read(Convolution, arguments)
    band(a.x, a.shape, a.strides, a.window, a.groups, a.w, a.bias, a.y, a.out_shape, a.residual, _floor(a.relu),
         a.rows, a.splits, item, work)


def pooled_convolution(arguments, item, work):
    """A band of the stem with its max-pool, see :mod:`..conv.band`."""
    a = read(PooledConvolution, arguments)
    pooled_band(a.x, a.shape, a.strides, a.window, a.w, a.bias, a.middle, _floor(a.relu), a.pool, a.y, a.out_shape,
                a.rows, item, work)


def winograd2(arguments, item, work):
    """A block of tiles by F(2x2, 3x3), see :mod:`..conv.winograd`."""
    _winograd(2, read(Winograd, arguments), item, work)


def winograd4(arguments, item, work):
    """A block of tiles by F(4x4, 3x3), see :mod:`..conv.winograd`."""
    _winograd(4, read(Winograd, arguments), item, work)


@inlined
def _winograd(m, a, item, work):
    winograd_block(m, a.x, a.shape, a.padding, a.u, a.bias, a.y, a.out_shape, a.residual, _floor(a.relu), a.block,
                   a.splits, item, work, a.zeros)


def grouped4(arguments, item, work):
    """Rows of a 3x3 convolution with groups of 4, see :mod:`..conv.grouped`."""
    _grouped(4, read(Grouped, arguments), item, work)


def grouped8(arguments, item, work):
    """Rows of a 3x3 convolution with groups of 8."""
    _grouped(8, read(Grouped, arguments), item, work)


def grouped16(arguments, item, work):
    """Rows of a 3x3 convolution with groups of 16."""
    _grouped(16, read(Grouped, arguments), item, work)


@inlined
def _grouped(group, a, item, work):
    grouped_rows(group, a.x, a.shape, a.stride, a.padding, a.w, a.bias, a.y, a.out_shape, _floor(a.relu), a.rows,
                 item, a.zeros, work)


def max_pool(arguments, item, work):
    """A row of :func:`npresnet.ops.max_pool2d`, see :mod:`..pool`."""
    a = read(MaxPool, arguments)
    (_, h, w, c), (_, oh, ow, _) = a.shape, a.out_shape
    image, p = item // oh, item % oh
    pool_rows(a.x + image * h * w * c * 4, h, w, c, a.window, a.y + image * oh * ow * c * 4, ow, p, p + 1)


def global_mean(arguments, item, work):
    """One image of :func:`npresnet.ops.global_avg_pool2d`."""
    a = read(Mean, arguments)
    mean(a.x + item * a.pixels * a.channels * 4, a.pixels, a.channels,
         floats(a.y + item * a.channels * 4, a.channels))


def affine(arguments, item, work):
    """A few pixels of a batch norm in evaluation, see :mod:`..pointwise`."""
    a = read(Affine, arguments)
    c = a.channels
    for m in range(item * PIXELS, min(a.pixels, (item + 1) * PIXELS)):
        at = m * c * 4
        pointwise.affine(floats(a.x + at, c), floats(a.scale, c), floats(a.shift, c), _floor(a.relu),
                         floats(a.y + at, c))


def group_norm(arguments, item, work):
    """A block of channels of an image, see :mod:`..group_norm`."""
    a = read(GroupNorm, arguments)
    blocks, c = a.channels // a.block, a.channels
    first = item % blocks * a.block
    at = (item // blocks * a.pixels * c + first) * 4
    s, gap = a.residual + at if a.residual != 0 else 0, 4 * a.block
    normalize_block(a.x + at, s, a.pixels, c * 4, a.block, a.size, a.gamma + first * 4, a.beta + first * 4, a.eps,
                    work + WORK * a.block, gap, _floor(a.relu), a.y + at, work)


def leaky_relu(arguments, item, work):
    """A part of :func:`npresnet.ops.leaky_relu`."""
    a = read(Pointwise, arguments)
    at, count = item * FLOATS * 4, min(FLOATS, a.size - item * FLOATS)
    leaky_relu_part(floats(a.x + at, count), floats(a.parameter, 1)[0], floats(a.y + at, count))


def gelu(arguments, item, work):
    """A part of :func:`npresnet.ops.gelu`."""
    a = read(Pointwise, arguments)
    at, count = item * FLOATS * 4, min(FLOATS, a.size - item * FLOATS)
    gelu_part(floats(a.x + at, count), floats(a.y + at, count))


def silu(arguments, item, work):
    """A part of :func:`npresnet.ops.silu`."""
    a = read(Pointwise, arguments)
    at, count = item * FLOATS * 4, min(FLOATS, a.size - item * FLOATS)
    silu_part(floats(a.x + at, count), floats(a.y + at, count))


def add(arguments, item, work):
    """A few pixels of a residual sum, see :mod:`..pointwise`."""
    a = read(Add, arguments)
    c = a.channels
    for m in range(item * PIXELS, min(a.pixels, (item + 1) * PIXELS)):
        at = m * c * 4
        pointwise.add(floats(a.x + at, c), floats(a.z + at, c), _floor(a.relu), floats(a.y + at, c))


def subsample(arguments, item, work):
    """A row of shortcut A, see :mod:`..pointwise`."""
    a = read(Subsample, arguments)
    (_, h, w, c), (_, oh, ow, f), (sh, sw) = a.shape, a.out_shape, a.stride
    image, p = item // oh, item % oh
    for q in range(ow):
        source = a.x + ((image * h + p * sh) * w + q * sw) * c * 4
        pointwise.place(floats(source, a.channels), a.before, floats(a.y + (item * ow + q) * f * 4, f))
