"""Passes over images, channels last, in which every channel has its own coefficients.

The floats are taken in lines of whole pixels, with the coefficients repeated along a line, so that a few channels fill
vectors as well as many.  Sums run in float32 along FLUSH lines and in float64 beyond.
"""

import numpy as np
from numba import njit, prange

from .compiled import parallel
from .vector import floats

PARTS = 32           # of the lines, each summed by one thread: the same sums whatever the number of threads
LINE = 512           # floats in a line, or one pixel
FLUSH = 32


@njit
def _repeated(coefficients, width):
    """(k, c) -> (k, width): each row again and again."""
    k, c = coefficients.shape
    wide = np.empty((k, width), np.float32)
    for i in range(k):
        for j in range(width):
            wide[i, j] = coefficients[i, j % c]
    return wide


@njit
def _part(part, size, c):
    """(first line, last line, floats in a line)."""
    width = c * max(1, LINE // c)
    lines = (size + width - 1) // width
    return part * lines // PARTS, (part + 1) * lines // PARTS, width


@parallel
def moments(x, size, near, sums):
    """sums[part] = Σ d, Σ d² for each channel, d = x - near[0], of ``size`` floats at ``x``."""
    for part in prange(PARTS):
        _moments(part, x, size, near, sums[part])


@njit
def _moments(part, x, size, near, sums):
    first, last, width = _part(part, size, sums.shape[1])
    wide, total, short = _repeated(near, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    for start in range(first, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            _add_moments(floats(x + line * width * 4, min(width, size - line * width)), wide[0], short[0], short[1])
        total += short
    _fold(total, sums)


@njit
def _add_moments(x, near, first, second):
    for k in range(len(x)):
        d = x[k] - near[k]
        first[k] += d
        second[k] += d * d


@njit
def _fold(total, sums):
    sums[:] = 0
    for j in range(total.shape[1]):
        for i in range(2):
            sums[i, j % sums.shape[1]] += total[i, j]


@parallel
def normalize(x, s, size, coefficients, floor, y):
    """y = max(floor, scale·x + shift + s); ``s`` is an address, or 0 for no such term."""
    for part in prange(PARTS):
        _normalize(part, x, s, size, coefficients, np.float32(floor), y)


@njit
def _normalize(part, x, s, size, coefficients, floor, y):
    first, last, width = _part(part, size, coefficients.shape[1])
    wide = _repeated(coefficients, width)
    for line in range(first, last):
        at, n = line * width * 4, min(width, size - line * width)
        if s == 0:
            _affine(floats(x + at, n), wide[0], wide[1], floor, floats(y + at, n))
        else:
            _affine_and_add(floats(x + at, n), wide[0], wide[1], floats(s + at, n), floor, floats(y + at, n))


@njit
def _affine(x, scale, shift, floor, y):
    for k in range(len(x)):
        v = scale[k] * x[k] + shift[k]
        y[k] = floor if v < floor else v                     # a NaN stays


@njit
def _affine_and_add(x, scale, shift, s, floor, y):
    for k in range(len(x)):
        v = scale[k] * x[k] + shift[k] + s[k]
        y[k] = floor if v < floor else v


@parallel
def gradient_sums(dy, x, y, ds, size, coefficients, floor, sums):
    """sums[part] = Σ g, Σ g·(x - mean) for each channel, where g is dy as far as the ReLU let it through.

    ``coefficients`` = (mean, scale, shift): dy passes where scale·x + shift > ``floor``; or with ``y`` not 0 where
    y > 0, and then g is written to ``ds``.
    """
    for part in prange(PARTS):
        _gradient_sums(part, dy, x, y, ds, size, coefficients, np.float32(floor), sums[part])


@njit
def _gradient_sums(part, dy, x, y, ds, size, coefficients, floor, sums):
    first, last, width = _part(part, size, sums.shape[1])
    wide, total, short = _repeated(coefficients, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    for start in range(first, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            at, n = line * width * 4, min(width, size - line * width)
            g = floats(dy + at, n)
            if y != 0:
                _mask(g, floats(y + at, n), floats(ds + at, n))
                _add_cotangents(floats(ds + at, n), floats(x + at, n), wide, floor, short[0], short[1])
            else:
                _add_cotangents(g, floats(x + at, n), wide, floor, short[0], short[1])
        total += short
    _fold(total, sums)


@njit
def _mask(dy, y, ds):
    for k in range(len(y)):
        g = dy[k]                                            # read in any case: a choice of two values vectorizes
        ds[k] = g if y[k] > 0 else np.float32(0)


@njit
def _add_cotangents(dy, x, wide, floor, first, second):
    mean, scale, shift = wide[0], wide[1], wide[2]
    for k in range(len(x)):
        g = dy[k]
        g = g if scale[k] * x[k] + shift[k] > floor else np.float32(0)
        first[k] += g
        second[k] += g * (x[k] - mean[k])


@parallel
def combine(dy, x, size, coefficients, floor, dx):
    """dx = a·g + b·x + e, with ``coefficients`` = (a, b, e, scale, shift) and g as in :func:`gradient_sums`."""
    for part in prange(PARTS):
        _combine(part, dy, x, size, coefficients, np.float32(floor), dx)


@njit
def _combine(part, dy, x, size, coefficients, floor, dx):
    first, last, width = _part(part, size, coefficients.shape[1])
    wide = _repeated(coefficients, width)
    for line in range(first, last):
        at, n = line * width * 4, min(width, size - line * width)
        _combine_line(floats(dy + at, n), floats(x + at, n), wide, floor, floats(dx + at, n))


@njit
def _combine_line(dy, x, wide, floor, dx):
    a, b, e, scale, shift = wide[0], wide[1], wide[2], wide[3], wide[4]
    for k in range(len(x)):
        g = dy[k]
        g = g if scale[k] * x[k] + shift[k] > floor else np.float32(0)
        dx[k] = a[k] * g + b[k] * x[k] + e[k]
