"""Convolutions and classifiers on numbers of 8 or 16 bits: of :mod:`.band` and :mod:`.product`, in another arithmetic.

An element of 32 bits holds several channels of a pixel: C in a :data:`Shape` of x counts such elements, F single
filters.
"""

from collections.abc import Callable
from typing import NamedTuple

from ..codegen.tile import NONE, Arithmetic, make_multiply
from ..program.entry_point import Address, EntryPoint, Pair, Shape, Shared, Sides, Strides, entry_point
from .band import make_band, make_pooled, make_share
from .product import make_product


class Kernels(NamedTuple):
    """The entry points in an arithmetic.

    Their ``each`` holds what every filter adds, ``last`` leads to what the arithmetic's results need; the bytes of the
    pixels outside an image are ``outside``.
    """

    product: EntryPoint
    convolution: EntryPoint
    pooled_convolution: EntryPoint


def make_kernels(arithmetic: Arithmetic, nbytes: int, each_filter: int, pool_rows: Callable[..., None]) -> Kernels:
    """The entry points, called after the arithmetic, since their machine code is kept under their names.

    Results have ``nbytes``, what a filter adds to its sums ``each_filter``.
    """
    multiply = make_multiply(arithmetic)
    block, band = make_product(multiply, nbytes, each_filter), make_band(multiply, nbytes, each_filter)
    share, pooled = make_share(band, nbytes), make_pooled(band, pool_rows, nbytes)

    def product(item, work, x: Address, shape: Shape, stride: Pair, w: Shared, each: Shared, y: Address,
                out_shape: Shape, residual: Address, last: Shared, size: int, splits: int):
        """A block of ``size`` pixels, and every panel whose number is the item's modulo ``splits``."""
        pixels = out_shape[0] * out_shape[1] * out_shape[2]
        first = item // splits * size
        block(x, shape, stride, w, each, y, out_shape, residual - y if residual != 0 else NONE, last, first,
              min(size, pixels - first), item % splits, splits)

    def convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, groups: int, outside: int,
                    w: Shared, each: Shared, y: Address, out_shape: Shape, residual: Address, last: Shared,
                    rows: int, splits: int):
        """One share of the panels, of ``splits``, for a band of ``rows`` output rows of one image."""
        share(item, work, x, shape, strides, window, groups, outside, w, each, y, out_shape, residual, last, rows,
              splits)

    def pooled_convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, outside: int,
                           w: Shared, each: Shared, middle: Pair, last: Shared, pool: Sides, y: Address,
                           out_shape: Shape, rows: int):
        """A band, then a max-pool with window ``pool``; ``middle`` = (h, w) of the image between them."""
        pooled(item, work, x, shape, strides, window, outside, w, each, middle, last, pool, y, out_shape, rows)

    for function in (product, convolution, pooled_convolution):
        function.__name__ = f"{function.__name__}_{arithmetic.name}"
    return Kernels(entry_point(product), entry_point(convolution), entry_point(pooled_convolution))
