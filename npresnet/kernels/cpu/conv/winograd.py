"""3x3 convolutions of stride 1 by Winograd's F(m x m, 3 x 3), channels last.

Equals :func:`npresnet.ops.winograd.winograd_conv2d`, where the equations stand.  A work item carries a block of tiles
through the input transform, one matrix product for each transformed element, and the output transform with bias,
residual sum and ReLU, so that the block stays in the core's cache.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ....ops.winograd import F
from ..codegen.jit import floor_of, inlined
from ..codegen.tile import NONE, PANEL, ROWS, multiply_strided, panel_width
from ..codegen.transform import make_gather, make_scatter
from ..codegen.vector import LANES, address, hold
from ..program.entry_point import Address, EntryPoint, Pair, Shape, Shared, entry_point
from .pack import GAP


class Numbers(NamedTuple):
    """What a Winograd convolution computes with: its transforms, its product, and the bytes that things take.

    multiply   a :func:`~..codegen.tile.make_multiply`; ``nothing`` is its last argument where nothing follows the sums
    gather     a :func:`~..codegen.transform.make_gather` of B', whose results are elements of 32 bits
    scatter    a :func:`~..codegen.transform.make_scatter` of A'
    read       bytes of x that make an element; ``nbytes`` of a result; ``each`` of what a filter adds
    """

    multiply: Callable[..., None]
    nothing: Any
    gather: Callable[..., None]
    scatter: Callable[..., None]
    read: int
    nbytes: int
    each: int


def make_items(m: int, numbers: Numbers) -> Callable[..., None]:
    """An item of F(m x m, 3 x 3): a block of ``block`` tiles of m x m outputs, one share of the panels of ``splits``.

    The tiles of all images are cut into ``groups``, those into blocks.  ``padding`` = (top, left); ``u`` = packed
    G g G'; ``zeros`` = the address of max(c, PANEL) elements, for pixels outside; ``shape`` counts elements.  A thread
    needs :func:`winograd_bytes`.
    """
    (multiply, nothing, gather, scatter, read, nbytes, each), t = numbers, m + 2

    @inlined
    def items(item, work, x, shape, padding, u, bias, y, out_shape, residual, last, block, splits, groups, zeros):
        th, tw = (out_shape[1] + m - 1) // m, (out_shape[2] + m - 1) // m
        tiles = out_shape[0] * th * tw // groups
        blocks = (tiles + block - 1) // block
        first = item // splits % blocks * block
        n, first = min(block, tiles - first), first + item // (splits * blocks) * tiles
        transform_input(x, shape, padding, first, n, th, tw, work, zeros)
        multiply_panels(shape[3], u, bias, y, out_shape, residual, last, first, n, th, tw, work, zeros, item % splits,
                        splits)

    @inlined
    def transform_input(x, shape, padding, first, n, th, tw, scratch, zeros):
        """V = B' d B of n tiles; element e of a tile lies ``e * step`` bytes after its first."""
        h, w, c = shape[1], shape[2], shape[3]
        places, step = np.empty(t * t, np.int64), n * c * 4 + 64
        first_place = address(places)
        for b in range(n):
            image, i, j = (first + b) // (th * tw), (first + b) // tw % th, (first + b) % tw
            for e in range(t * t):
                r, s = i * m - padding[0] + e // t, j * m - padding[1] + e % t
                inside = 0 <= r < h and 0 <= s < w
                places[e] = x + ((image * h + r) * w + s) * c * read if inside else zeros
            for k in range(0, c, LANES):
                gather(first_place, k * read, scratch + (b * c + k) * 4, step)
        hold(places)

    @inlined
    def multiply_panels(c, u, bias, y, out_shape, residual, last, first, n, th, tw, scratch, zeros, split, splits):
        """M = U V for one panel of filters at a time, then its ``transform_output``."""
        f, v_step, m_step = out_shape[3], n * c * 4 + 64, n * PANEL * 4 + 64
        products = scratch + t * t * v_step
        rows, outs, taps = np.empty(n + ROWS, np.int64), np.empty(n + ROWS, np.int64), np.empty(1, np.int64)
        for r in range(n + ROWS):
            rows[r] = scratch + min(r, n - 1) * c * 4
            outs[r] = products + min(r, n - 1) * PANEL * 4
        column, index = 0, 0
        while column < f:
            width = panel_width(f - column)
            if index % splits == split:
                for e in range(t * t):
                    taps[0] = e * v_step
                    panel = u + ((column * t * t + e * width) * c + (index * t * t + e) * GAP) * 4
                    multiply(rows, n, taps, c, 4, panel, width * 4, width, zeros, outs, e * m_step, NONE, nothing)
                transform_output(products, m_step, bias, y, out_shape, residual, last, first, n, th, tw, zeros,
                                 column, width)
            column, index = column + width, index + 1

    @inlined
    def transform_output(products, step, bias, y, out_shape, residual, last, first, n, th, tw, zeros, column, width):
        """Y = A' M A, with what is added to it; what falls outside the image is written to a dump."""
        oh, ow, f = out_shape[1], out_shape[2], out_shape[3]
        outs, residuals, dump = np.empty(m * m, np.int64), np.empty(m * m, np.int64), products + t * t * step
        to, adds = address(outs), address(residuals) if residual != 0 else 0
        for b in range(n):
            image, i, j = (first + b) // (th * tw), (first + b) // tw % th, (first + b) % tw
            for e in range(m * m):
                p, q = i * m + e // m, j * m + e % m
                inside = p < oh and q < ow
                offset = (((image * oh + p) * ow + q) * f + column) * nbytes
                outs[e] = y + offset if inside else dump
                residuals[e] = residual + offset if inside else zeros
            for k in range(0, width, LANES):
                source, b_here = products + (b * PANEL + k) * 4, bias + (column + k) * each
                scatter(source, step, to, k * nbytes, b_here, adds, last)
        hold(outs, residuals)

    return items


def make_winograd(m: int) -> EntryPoint:
    """The entry point of F(m x m, 3 x 3) on floats."""
    numbers = Numbers(multiply_strided, np.float32(-np.inf), make_gather(F[m].bt), make_scatter(F[m].at), 4, 4, 4)
    items = make_items(m, numbers)

    def winograd(item, work, x: Address, shape: Shape, padding: Pair, u: Shared, bias: Shared, y: Address,
                 out_shape: Shape, residual: Address, relu: bool, block: int, splits: int, groups: int,
                 zeros: Shared):
        """As :func:`make_items`."""
        items(item, work, x, shape, padding, u, bias, y, out_shape, residual, floor_of(relu), block, splits, groups,
              zeros)

    winograd.__name__ = f"winograd{m}"
    return entry_point(winograd)


winograd2, winograd4 = make_winograd(2), make_winograd(4)


def winograd_bytes(m: int, block: int, channels: int) -> int:
    """Workspace of one thread: V, one panel of M, and the dump."""
    return (m + 2) ** 2 * (block * (channels + PANEL) * 4 + 128) + PANEL * 4

