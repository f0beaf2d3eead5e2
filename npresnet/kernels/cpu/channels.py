"""Passes over images, channels last, in which every channel has its own coefficients.

The floats are taken in lines of whole pixels, with the coefficients repeated along a line.  Sums run in float32 along
FLUSH lines and in float64 beyond.
"""

import numpy as np
from numba import njit

from ...backend import Array
from .arrays import empty
from .codegen import lines
from .codegen.vector import address, copy, doubles, hold, prefetch
from .program.entry_point import Address, entry_point

PARTS = 32           # of the lines, each summed by one thread: the same sums whatever the number of threads
LINE = 512           # floats in a line, or one pixel
FLUSH = 32
NO_FLOOR = float("-inf")
PREFETCH = 4096      # bytes ahead: beyond the page where a core's own prefetcher stops

_add_moments, _add_cotangents, _combine_line = lines.add_moments, lines.add_cotangents, lines.combine
_affine, _affine_and_add, _mask = lines.affine, lines.affine_and_add, lines.mask


@njit
def _repeated(coefficients, k, c, width):
    """(k, c) at an address -> (k, width): each row repeated."""
    wide = np.empty((k, width), np.float32)
    to = address(wide)
    for i in range(k):
        for start in range(0, width, c):
            copy(coefficients + i * c * 4, to + (i * width + start) * 4, c)
    hold(wide)
    return wide


@njit
def _part(part, size, c):
    """(first line, last line, floats in a line)."""
    width = c * max(1, LINE // c)
    count = (size + width - 1) // width
    return part * count // PARTS, (part + 1) * count // PARTS, width


@entry_point
def moments(part, work, x: Address, size: int, c: int, origin: Address, sums: Address):
    """sums[part] = Σ d, Σ d² for each of c channels, d = x - origin, of ``size`` floats at ``x``; PARTS items."""
    first, last, width = _part(part, size, c)
    wide, total, short = _repeated(origin, 1, c, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    at, sums_at = address(wide), address(short)
    for start in range(first, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            n = min(width, size - line * width)
            _add_moments(n, (x + line * width * 4, at, sums_at, sums_at + width * 4))
        total += short
    _fold(total, c, sums + part * 2 * c * 8)
    hold(wide, short)


@njit
def _fold(total, c, sums):
    for i in range(2):
        row = doubles(sums + i * c * 8, c)
        row[:] = 0
        for start in range(0, total.shape[1], c):
            for k in range(c):
                row[k] += total[i, start + k]


@entry_point
def normalize(part, work, x: Address, s: Address, size: int, c: int, coefficients: Address, y: Address):
    """y = max(floor, scale·x + shift + s); ``coefficients`` = (scale, shift, floor), ``s`` may be None; PARTS items."""
    first, last, width = _part(part, size, c)
    wide = _repeated(coefficients, 3, c, width)
    scale, step = address(wide), width * 4
    for line in range(first, last):
        at, n = line * step, min(width, size - line * width)
        if s == 0:
            _affine(n, (x + at, scale, scale + step, scale + 2 * step, y + at))
        else:
            _affine_and_add(n, (x + at, scale, scale + step, scale + 2 * step, s + at, y + at))
    hold(wide)


def normalized(x: Array, coefficients: Array, s: Array | None = None) -> Array:
    """:func:`normalize` of (N, H, W, C) into a new array."""
    y = empty(x.shape)
    normalize(PARTS, x, s, x.size, x.shape[3], coefficients, y)
    return y


@entry_point
def part_gradient_sums(part, work, dy: Address, x: Address, y: Address, ds: Address, size: int, c: int,
                       coefficients: Address, sums: Address):
    """sums[part] = Σ g, Σ g·(x - mean) for each channel, where g is dy as far as the ReLU let it through; PARTS items.

    ``coefficients`` = (mean, scale, shift, floor): dy passes where scale·x + shift > floor; or, where ``y`` is given,
    where y > 0, and then g is written to ``ds``.
    """
    first, last, width = _part(part, size, c)
    wide, total, short = _repeated(coefficients, 4, c, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    mean, step, sums_at = address(wide), width * 4, address(short)
    for start in range(first, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            at, n = line * step, min(width, size - line * width)
            prefetch(dy + at + PREFETCH, step)
            prefetch(x + at + PREFETCH, step)
            if y != 0:
                _mask(n, (dy + at, y + at, ds + at))
            _add_cotangents(n, ((dy if y == 0 else ds) + at, x + at, mean, mean + step, mean + 2 * step,
                                mean + 3 * step, sums_at, sums_at + step))
        total += short
    _fold(total, c, sums + part * 2 * c * 8)
    hold(wide, short)


def gradient_sums(dy: Array, x: Array, coefficients: Array, y: Array | None = None, ds: Array | None = None) -> Array:
    """Σ g and Σ g·(x - mean) for each channel of (N, H, W, C), as (2, C); see :func:`part_gradient_sums`."""
    sums = np.empty((PARTS, 2, x.shape[3]))
    part_gradient_sums(PARTS, dy, x, y, ds, x.size, x.shape[3], coefficients, sums)
    return sums.sum(axis=0)


@entry_point
def combine(part, work, dy: Address, x: Address, size: int, c: int, coefficients: Address, dx: Address):
    """dx = a·g + b·x + c, ``coefficients`` = (a, b, c, scale, shift, floor), g as in :data:`part_gradient_sums`."""
    first, last, width = _part(part, size, c)
    wide = _repeated(coefficients, 6, c, width)
    a, step = address(wide), width * 4
    for line in range(first, last):
        at, n = line * step, min(width, size - line * width)
        prefetch(dy + at + PREFETCH, step)
        prefetch(x + at + PREFETCH, step)
        _combine_line(n, (dy + at, x + at, a, a + step, a + 2 * step, a + 3 * step, a + 4 * step, a + 5 * step,
                          dx + at))
    hold(wide)
