"""1x1 convolutions and linear layers: one matrix product whose rows are pixels.

    y[m, f] = max(floor, Σ_c x[m, c] · w[c, f] + bias[f] + residual[m, f])

Equals :func:`npresnet.ops.conv2d` with a 1x1 kernel, channels last, with a residual.  Each work item takes a block of
pixels that stays in the core's cache while the packed panels of w pass by.
"""

from collections.abc import Callable

import numpy as np

from ..codegen.jit import floor_of, inlined
from ..codegen.tile import NONE, ROWS, multiply_strided, panel_width
from ..program.entry_point import Address, Pair, Shape, Shared, entry_point


@entry_point
def product(item, work, x: Address, shape: Shape, stride: Pair, w: Shared, bias: Shared, y: Address,
            out_shape: Shape, residual: Address, relu: bool, block: int, splits: int, groups: int):
    """A block of ``block`` pixels, and every panel whose number is the item's modulo ``splits``.

    The pixels of all images are cut into ``groups``, those into blocks.
    """
    pixels = out_shape[0] * out_shape[1] * out_shape[2] // groups
    blocks = (pixels + block - 1) // block
    first, group = item // splits % blocks * block, item // (splits * blocks)
    _product(x, shape, stride, w, bias, y, out_shape, residual - y if residual != 0 else NONE, floor_of(relu),
             group * pixels + first, min(block, pixels - first), item % splits, splits)


def make_product(multiply: Callable[..., None], nbytes: int, each: int) -> Callable[..., None]:
    """The product of a block of pixels and a share of the panels, as :func:`.band.make_band`."""

    @inlined
    def block(x, shape, stride, w, bias, y, out_shape, delta, last, first, n, split, splits):
        channels, features = shape[3], out_shape[3]
        rows, outs, taps = np.empty(n + ROWS, np.int64), np.empty(n + ROWS, np.int64), np.zeros(1, np.int64)
        for r in range(n + ROWS):
            m = first + min(r, n - 1)
            image, p, q = m // (out_shape[1] * out_shape[2]), m // out_shape[2] % out_shape[1], m % out_shape[2]
            rows[r] = x + ((image * shape[1] + p * stride[0]) * shape[2] + q * stride[1]) * channels * 4
            outs[r] = y + m * features * nbytes
        column, index = 0, 0
        while column < features:
            width = panel_width(features - column)
            if index % splits == split:
                multiply(rows, n, taps, channels, 4, w + column * channels * 4, width * 4, width, bias + column * each,
                         outs, column * nbytes, delta, last)
            column, index = column + width, index + 1

    return block


_product = make_product(multiply_strided, 4, 4)
