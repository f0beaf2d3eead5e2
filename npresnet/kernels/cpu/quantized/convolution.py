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
from ..conv.band import make_band, make_pooled, make_share
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
    share, pooled = make_share(band, 1), make_pooled(band, pool_rows, 1)

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
        share(item, work, x, shape, strides, window, groups, zero, w, each, y, out_shape, residual, rounding, rows,
              splits)

    def pooled_convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, zero: int, w: Shared,
                           each: Shared, middle: Pair, rounding: Shared, pool: Sides, y: Address, out_shape: Shape,
                           rows: int):
        """A band, then a max-pool with window ``pool``; ``middle`` = (h, w) of the image between them."""
        pooled(item, work, x, shape, strides, window, zero, w, each, middle, rounding, pool, y, out_shape, rows)

    return Kernels(*(_named(road, function) for function in (product, convolution, pooled_convolution)))


def _named(road, function: Callable[..., None]) -> EntryPoint:
    """The entry point, called after its road: machine code is kept under its name."""
    function.__name__ = f"{function.__name__}_{road}"
    return entry_point(function)
