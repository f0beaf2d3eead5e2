"""Convolutions and classifiers on levels of 8 bits, by each road that the processor can take.

They are those of :mod:`..conv.band` and :mod:`..conv.product`, whose elements of 32 bits here hold four channels of a
pixel each: C in a :data:`Shape` counts such elements, F single filters.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from ..codegen.dot import ROADS
from ..codegen.octets import EACH, octets
from ..codegen.tile import NONE, make_multiply
from ..conv.band import band_rows, copy_band, make_band, row_floats
from ..conv.product import make_product
from ..program.entry_point import Address, EntryPoint, Pair, Shape, Shared, Sides, Strides, entry_point
from .pool import pool_rows


class Kernels(NamedTuple):
    """The entry points of a road.

    Their ``each`` holds what every filter adds, ``rounding`` the numbers of :data:`~..codegen.octets.FIELDS`, both from
    :mod:`.pack`; ``zero`` is that of x, which the pixels outside an image are.
    """

    product: EntryPoint
    convolution: EntryPoint
    pooled_convolution: EntryPoint


@cache
def kernels(road: str) -> Kernels:
    """The entry points of this road, one of :data:`~..codegen.dot.ROADS`."""
    multiply = make_multiply(octets(ROADS[road]))
    block, band = make_product(multiply, 1, EACH), make_band(multiply, 1, EACH)

    def product(item, work, x: Address, shape: Shape, stride: Pair, w: Shared, each: Shared, y: Address,
                out_shape: Shape, residual: Address, rounding: Shared, size: int, splits: int):
        """A block of ``size`` pixels, and every panel whose number is the item's modulo ``splits``."""
        pixels = out_shape[0] * out_shape[1] * out_shape[2]
        first = item // splits * size
        block(x, shape, stride, w, each, y, out_shape, residual - y if residual != 0 else NONE, rounding, first,
              min(size, pixels - first), item % splits, splits)

    def convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, groups: int, zero: int,
                    w: Shared, each: Shared, y: Address, out_shape: Shape, residual: Address, rounding: Shared,
                    rows: int, splits: int):
        """One share of the panels, of ``splits``, for a band of ``rows`` output rows of one image."""
        _, oh, ow, f = out_shape
        bands, delta = (oh + rows - 1) // rows, residual - y if residual != 0 else NONE
        image, p = item // (bands * splits), item // splits % bands * rows
        count = min(rows, oh - p)
        copy_band(x + image * strides[0], shape, strides, window, p, count, ow, work, 0, zero)
        band(work, shape, window, groups, w, each, y + (image * oh + p) * ow * f, count, ow, f, delta, rounding,
             item % splits, splits)

    def pooled_convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, zero: int, w: Shared,
                           each: Shared, middle: Pair, rounding: Shared, pool: Sides, y: Address, out_shape: Shape,
                           rows: int):
        """A band, then a max-pool with window ``pool``; ``middle`` = (h, w) of the image between them."""
        (_, oh, ow, f), (h, wide), (kh, _, sh, _, dh, _, top, _) = out_shape, middle, pool
        bands = (oh + rows - 1) // rows
        image, p = item // bands, item % bands * rows
        count, first = min(rows, oh - p), max(0, p * sh - top)
        last = min(h, (p + count - 1) * sh - top + (kh - 1) * dh + 1)
        half = work + band_rows(band_rows(rows, pool), window) * row_floats(wide, shape[3], window) * 4
        copy_band(x + image * strides[0], shape, strides, window, first, last - first, wide, work, 0, zero)
        band(work, shape, window, 1, w, each, half, last - first, wide, f, NONE, rounding, 0, 1)
        pool_rows(half - first * wide * f, h, wide, f, pool, y + image * oh * ow * f, ow, p, p + count)

    return Kernels(*(_named(road, function) for function in (product, convolution, pooled_convolution)))


def _named(road, function: Callable[..., None]) -> EntryPoint:
    """The entry point, called after its road: machine code is kept under its name."""
    function.__name__ = f"{function.__name__}_{road}"
    return entry_point(function)
