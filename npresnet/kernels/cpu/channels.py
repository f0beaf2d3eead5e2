"""Passes over images, channels last, in which every channel has its own coefficients.

The floats are taken in lines of whole pixels, with the coefficients repeated along a line.  Sums run in float32 along
FLUSH lines and in float64 beyond.
"""

import numpy as np
from numba import njit, prange

from . import lines
from .compiled import parallel
from .memory import address_of, empty
from .vector import address, prefetch

PARTS = 32           # of the lines, each summed by one thread: the same sums whatever the number of threads
LINE = 512           # floats in a line, or one pixel
FLUSH = 32
AHEAD = 4096         # bytes: beyond the page where a core's own prefetcher stops

_add_moments, _add_cotangents, _combine_line = lines.add_moments, lines.add_cotangents, lines.combine
_affine, _affine_and_add, _mask = lines.affine, lines.affine_and_add, lines.mask


@njit
def _repeated(coefficients, width):
    """(k, c) -> (k, width): each row again and again."""
    k, c = coefficients.shape
    wide = np.empty((k, width), np.float32)
    for i in range(k):
        for start in range(0, width, c):
            for j in range(c):
                wide[i, start + j] = coefficients[i, j]
    return wide


@njit
def _part(part, size, c):
    """(first line, last line, floats in a line)."""
    width = c * max(1, LINE // c)
    count = (size + width - 1) // width
    return part * count // PARTS, (part + 1) * count // PARTS, width


@parallel
def moments(x, size, near, sums):
    """sums[part] = Σ d, Σ d² for each channel, d = x - near[0], of ``size`` floats at ``x``."""
    for part in prange(PARTS):
        _moments(part, x, size, near, sums[part])


@njit
def _moments(part, x, size, near, sums):
    first, last, width = _part(part, size, sums.shape[1])
    wide, total, short = _repeated(near, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    at, sums_at = address(wide), address(short)
    for start in range(first, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            n = min(width, size - line * width)
            _add_moments(n, (x + line * width * 4, at, sums_at, sums_at + width * 4))
        total += short
    _fold(total, sums)


@njit
def _fold(total, sums):
    c = sums.shape[1]
    sums[:] = 0
    for i in range(2):
        for start in range(0, total.shape[1], c):
            for j in range(c):
                sums[i, j] += total[i, start + j]


@parallel
def normalize(x, s, size, coefficients, y):
    """y = max(floor, scale·x + shift + s); ``coefficients`` = (scale, shift, floor), ``s`` an address or 0."""
    for part in prange(PARTS):
        _normalize(part, x, s, size, coefficients, y)


@njit
def _normalize(part, x, s, size, coefficients, y):
    first, last, width = _part(part, size, coefficients.shape[1])
    wide = _repeated(coefficients, width)
    scale, step = address(wide), width * 4
    for line in range(first, last):
        at, n = line * step, min(width, size - line * width)
        if s == 0:
            _affine(n, (x + at, scale, scale + step, scale + 2 * step, y + at))
        else:
            _affine_and_add(n, (x + at, scale, scale + step, scale + 2 * step, s + at, y + at))


def normalized(x, coefficients, s=None):
    """:func:`normalize` of (N, H, W, C) into a new array."""
    y = empty(x.shape)
    normalize(x.ctypes.data, address_of(s), x.size, coefficients, y.ctypes.data)
    return y


@parallel
def gradient_sums(dy, x, y, ds, size, coefficients, sums):
    """sums[part] = Σ g, Σ g·(x - mean) for each channel, where g is dy as far as the ReLU let it through.

    ``coefficients`` = (mean, scale, shift, floor): dy passes where scale·x + shift > floor; or with ``y`` not 0 where
    y > 0, and then g is written to ``ds``.
    """
    for part in prange(PARTS):
        _gradient_sums(part, dy, x, y, ds, size, coefficients, sums[part])


def slopes(dy, x, coefficients, y=None, ds=None):
    """:func:`gradient_sums` of all the parts, (2, C), for (N, H, W, C)."""
    sums = np.empty((PARTS, 2, x.shape[3]))
    gradient_sums(dy.ctypes.data, x.ctypes.data, address_of(y), address_of(ds), x.size, coefficients, sums)
    return sums.sum(axis=0)


@njit
def _gradient_sums(part, dy, x, y, ds, size, coefficients, sums):
    first, last, width = _part(part, size, sums.shape[1])
    wide, total, short = _repeated(coefficients, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    mean, step, sums_at = address(wide), width * 4, address(short)
    for start in range(first, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            at, n = line * step, min(width, size - line * width)
            prefetch(dy + at + AHEAD, step)
            prefetch(x + at + AHEAD, step)
            if y != 0:
                _mask(n, (dy + at, y + at, ds + at))
            _add_cotangents(n, ((dy if y == 0 else ds) + at, x + at, mean, mean + step, mean + 2 * step,
                                mean + 3 * step, sums_at, sums_at + step))
        total += short
    _fold(total, sums)


@parallel
def combine(dy, x, size, coefficients, dx):
    """dx = a·g + b·x + c, with ``coefficients`` = (a, b, c, scale, shift, floor) and g as in :func:`gradient_sums`."""
    for part in prange(PARTS):
        _combine(part, dy, x, size, coefficients, dx)


@njit
def _combine(part, dy, x, size, coefficients, dx):
    first, last, width = _part(part, size, coefficients.shape[1])
    wide = _repeated(coefficients, width)
    a, step = address(wide), width * 4
    for line in range(first, last):
        at, n = line * step, min(width, size - line * width)
        prefetch(dy + at + AHEAD, step)
        prefetch(x + at + AHEAD, step)
        _combine_line(n, (dy + at, x + at, a, a + step, a + 2 * step, a + 3 * step, a + 4 * step, a + 5 * step,
                          dx + at))
