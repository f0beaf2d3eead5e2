"""Passes over images, channels last, in which every channel has its own coefficients.

The floats are taken in lines of whole pixels, with the coefficients repeated along a line.  Sums run in float32 along
FLUSH lines and in float64 beyond.
"""

import numpy as np
from numba import njit

from ...backend import Array
from .arrays import empty
from .codegen import lines
from .codegen.jit import floor_of
from .codegen.vector import address, copy, doubles, floats, hold, prefetch
from .program.entry_point import Address, entry_point

PARTS = 32           # of the lines, each summed by one thread: the same sums whatever the number of threads
LINE = 512           # floats in a line, or one pixel
FLUSH = 32
CHANNELS = 64        # whose sums are added up by one thread
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
def normalize(part, work, x: Address, s: Address, size: int, c: int, coefficients: Address, relu: bool, y: Address):
    """y = scale·x + shift + s, at least 0 with ``relu``; ``coefficients`` = (scale, shift), s may be None.

    PARTS items.
    """
    first, last, width = _part(part, size, c)
    wide = _repeated(coefficients, 3, c, width)              # of a third row, which is there, its place alone is used
    wide[2] = floor_of(relu)
    scale, step = address(wide), width * 4
    for line in range(first, last):
        at, n = line * step, min(width, size - line * width)
        if s == 0:
            _affine(n, (x + at, scale, scale + step, scale + 2 * step, y + at))
        else:
            _affine_and_add(n, (x + at, scale, scale + step, scale + 2 * step, s + at, y + at))
    hold(wide)


@entry_point
def finish_moments(item, work, sums: Address, m: int, c: int, origin: Address, gamma: Address, beta: Address,
                   eps: Address, relu: bool, moments: Address, inv_std: Address, rows: Address):
    """(μ, σ²) of m values in each channel from their :data:`moments`, 1/√(σ² + ε), and (μ, scale, shift, floor).

    y = max(floor, scale·x + shift) is the batch norm, with the ReLU behind it if ``relu``; ``eps`` is a float32.
    A block of CHANNELS an item.
    """
    totals, start, values = doubles(sums, PARTS * 2 * c), floats(origin, c), floats(moments, 2 * c)
    gammas, betas, inverse, out = floats(gamma, c), floats(beta, c), floats(inv_std, c), floats(rows, 4 * c)
    floor = floor_of(relu)
    for k in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        first, second = 0.0, 0.0
        for part in range(PARTS):
            first += totals[2 * part * c + k]
            second += totals[(2 * part + 1) * c + k]
        first, second = first / m, second / m                           # mean(d), mean(d²), d = x - origin
        var = second - first * first
        values[k], values[c + k] = first + start[k], 0.0 if var < 0 else var         # a NaN stays
        inverse[k] = np.float32(1) / np.sqrt(values[c + k] + floats(eps, 1)[0])
        scale = gammas[k] * inverse[k]
        out[k], out[c + k], out[2 * c + k], out[3 * c + k] = values[k], scale, betas[k] - scale * values[k], floor


@entry_point
def first_sums(item, work, sums: Address, c: int, out: Address):
    """Σ d of each channel, from its :data:`moments`."""
    totals = doubles(sums, PARTS * 2 * c)
    for k in range(c):
        total = 0.0
        for part in range(PARTS):
            total += totals[2 * part * c + k]
        floats(out, c)[k] = total


@entry_point
def finish_gradients(item, work, sums: Address, m: int, c: int, rows: Address, inv_std: Address, dgamma: Address,
                     dbeta: Address, out: Address):
    """dβ = Σ g, dγ = Σ g·x̂ from their :data:`part_gradient_sums`, and the rows of :data:`combine` for dx.

        dx = scale · (g − dβ/m − x̂ · dγ/m) = scale · (g − dβ/m − k · (x − μ))        k = dγ/(m √(σ² + ε))

    ``rows`` = (μ, scale, shift, floor).  A block of CHANNELS an item.
    """
    totals, given, made = doubles(sums, PARTS * 2 * c), floats(rows, 4 * c), floats(out, 6 * c)
    for i in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        first, second = 0.0, 0.0
        for part in range(PARTS):
            first += totals[2 * part * c + i]
            second += totals[(2 * part + 1) * c + i]
        mean, scale, inverse = given[i], given[c + i], floats(inv_std, c)[i]
        second *= inverse
        k = second * inverse / m
        floats(dbeta, c)[i], floats(dgamma, c)[i] = first, second
        made[i], made[c + i], made[2 * c + i] = scale, -scale * k, scale * (k * mean - first / m)
        for row in range(3):
            made[(3 + row) * c + i] = given[(1 + row) * c + i]


def normalized(x: Array, coefficients: Array, s: Array | None = None) -> Array:
    """:data:`normalize` of (N, H, W, C) into a new array, with the ReLU."""
    y = empty(x.shape)
    normalize(PARTS, x, s, x.size, x.shape[3], coefficients, True, y)
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
