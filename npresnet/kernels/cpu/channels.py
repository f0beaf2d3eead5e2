"""Passes over images, channels last, in which every channel has its own coefficients.

A work item is a part of the images, see :mod:`.program.chains`: the sums are the same whatever the number of threads.
Its floats are taken in lines of whole pixels, with the coefficients repeated along a line.  Sums run in float32 along
FLUSH lines and in float64 beyond.

[CGL] Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances
"""

import numpy as np

from ...backend import Array
from .arrays import empty
from .codegen import lines
from .codegen.jit import floor_of, inlined
from .codegen.vector import address, copy, doubles, floats, hold, prefetch
from .pointwise import accumulate
from .program.chains import PARTS, images_of
from .program.entry_point import Address, Shared, entry_point, run

LINE = 512           # floats in a line, or one pixel
FLUSH = 32
CHANNELS = 64        # whose sums are added up by one thread
NO_FLOOR = float("-inf")
PREFETCH = 4096      # bytes ahead: beyond the page where a core's own prefetcher stops

_add_moments, _add_cotangents, _combine_line = lines.add_moments, lines.add_cotangents, lines.combine
_affine, _affine_and_add, _mask = lines.affine, lines.affine_and_add, lines.mask


@inlined
def _repeated(coefficients, k, c, width):
    """(k, c) at an address -> (k, width): each row repeated."""
    wide = np.empty((k, width), np.float32)
    to = address(wide)
    for i in range(k):
        for start in range(0, width, c):
            copy(coefficients + i * c * 4, to + (i * width + start) * 4, c)
    hold(wide)
    return wide


@inlined
def _part(part, images, pixels, c):
    """(bytes before a part, its floats, those in a line), of ``images`` with so many ``pixels`` each."""
    first, last = images_of(part, images)
    return first * pixels * c * 4, (last - first) * pixels * c, c * max(1, LINE // c)


@entry_point
def moments(part, work, x: Address, images: int, pixels: int, c: int, sums: Address):
    """sums[part] = d₀, Σ d, Σ d² for each of c channels, d = x - d₀, where d₀ is the part's first pixel."""
    before, size, width = _part(part, images, pixels, c)
    x, last, to = x + before, (size + width - 1) // width, sums + part * 3 * c * 8
    wide, total, short = _repeated(x, 1, c, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    at, sums_at = address(wide), address(short)
    for start in range(0, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            n = min(width, size - line * width)
            _add_moments(n, (x + line * width * 4, at, sums_at, sums_at + width * 4))
        total += short
    for k in range(c):
        doubles(to, c)[k] = floats(x, c)[k]
    _fold(total, c, to + c * 8)
    hold(wide, short)


@inlined
def _fold(total, c, sums):
    for i in range(2):
        row = doubles(sums + i * c * 8, c)
        row[:] = 0
        for start in range(0, total.shape[1], c):
            for k in range(c):
                row[k] += total[i, start + k]


@entry_point
def normalize(part, work, x: Address, s: Address, images: int, pixels: int, c: int, coefficients: Shared, relu: bool,
              y: Address):
    """y = scale·x + shift + s, at least 0 with ``relu``; ``coefficients`` = (scale, shift), s may be None."""
    before, size, width = _part(part, images, pixels, c)
    wide = _repeated(coefficients, 3, c, width)              # of a third row, which is there, its place alone is used
    wide[2] = floor_of(relu)
    scale, step = address(wide), width * 4
    for line in range((size + width - 1) // width):
        at, n = before + line * step, min(width, size - line * width)
        if s == 0:
            _affine(n, (x + at, scale, scale + step, scale + 2 * step, y + at))
        else:
            _affine_and_add(n, (x + at, scale, scale + step, scale + 2 * step, s + at, y + at))
    hold(wide)


@entry_point
def finish_moments(item, work, sums: Address, images: int, pixels: int, c: int, gamma: Address, beta: Address,
                   eps: Address, relu: bool, moments: Address, inv_std: Address, rows: Address):
    """(μ, σ²) of each channel from its :data:`moments`, 1/√(σ² + ε), and (μ, scale, shift, floor).

        μ = Σ n_p μ_p / m        σ² = Σ (M_p + n_p (μ_p − μ)²) / m                            [CGL]

    with n_p, μ_p and M_p = Σ (x − μ_p)² those of a part.  y = max(floor, scale·x + shift) is the batch norm, with the
    ReLU behind it if ``relu``; ``eps`` is a float32.  A block of CHANNELS an item.
    """
    parts = min(images, PARTS)
    totals, values = doubles(sums, parts * 3 * c), floats(moments, 2 * c)
    gammas, betas, inverse, out = floats(gamma, c), floats(beta, c), floats(inv_std, c), floats(rows, 4 * c)
    m, floor = images * pixels, floor_of(relu)
    for k in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        mean, var = 0.0, 0.0
        for part in range(parts):
            first, last = images_of(part, images)
            n = (last - first) * pixels
            mean += (n * totals[3 * part * c + k] + totals[(3 * part + 1) * c + k]) / m
        for part in range(parts):
            first, last = images_of(part, images)
            n, shifted = (last - first) * pixels, totals[(3 * part + 1) * c + k]
            var += (totals[(3 * part + 2) * c + k] - shifted * shifted / n) / m
            var += n * (totals[3 * part * c + k] + shifted / n - mean) ** 2 / m
        values[k], values[c + k] = mean, 0.0 if var < 0 else var        # a NaN stays
        set_coefficients(k, c, values[k], values[c + k], gammas, betas, eps, floor, inverse, out)


@inlined
def set_coefficients(k, c, mean, var, gammas, betas, eps, floor, inverse, out):
    """Of channel k: 1/√(σ² + ε), and (μ, scale, shift, floor) with scale = γ/√(σ² + ε), shift = β − scale·μ."""
    inverse[k] = np.float32(1) / np.sqrt(var + floats(eps, 1)[0])
    scale = gammas[k] * inverse[k]
    out[k], out[c + k], out[2 * c + k], out[3 * c + k] = mean, scale, betas[k] - scale * mean, floor


@entry_point
def stored_coefficients(item, work, c: int, gamma: Address, beta: Address, mean: Address, var: Address, eps: Address,
                        inv_std: Address, rows: Address, back: Address):
    """1/√(σ² + ε), rows (μ, scale, shift, floor) of y = scale·x + shift, those of :data:`combine` for dx = scale·dy."""
    gammas, betas, means, variances = floats(gamma, c), floats(beta, c), floats(mean, c), floats(var, c)
    inverse, out, made = floats(inv_std, c), floats(rows, 4 * c), floats(back, 6 * c)
    for k in range(c):
        set_coefficients(k, c, means[k], variances[k], gammas, betas, eps, floor_of(False), inverse, out)
        set_combination(k, c, 0.0, 0.0, out, made)


@entry_point
def totals(part, work, x: Address, images: int, pixels: int, c: int, sums: Address):
    """sums[part] = Σ x of each channel, in float64."""
    before, size, _ = _part(part, images, pixels, c)
    row = doubles(sums + part * c * 8, c)
    row[:] = 0
    for pixel in range(size // c):
        accumulate(floats(x + before + pixel * c * 4, c), row)


@entry_point
def finish_totals(item, work, sums: Address, parts: int, c: int, out: Address):
    """Σ x of each channel in float32, from its :data:`totals` or as many rows of float64."""
    for k in range(c):
        total = 0.0
        for part in range(parts):
            total += doubles(sums, parts * c)[part * c + k]
        floats(out, c)[k] = total


@entry_point
def finish_gradients(item, work, sums: Address, parts: int, m: int, c: int, rows: Address, inv_std: Address,
                     dgamma: Address, dbeta: Address, out: Address):
    """dβ = Σ g, dγ = Σ g·x̂ from their :data:`part_gradient_sums`, and the rows of :data:`combine` for dx.

        dx = scale · (g − dβ/m − x̂ · dγ/m) = scale · (g − dβ/m − k · (x − μ))        k = dγ/(m √(σ² + ε))

    ``rows`` = (μ, scale, shift, floor).  A block of CHANNELS an item.
    """
    totals, given, made = doubles(sums, parts * 2 * c), floats(rows, 4 * c), floats(out, 6 * c)
    for i in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        first, second = 0.0, 0.0
        for part in range(parts):
            first += totals[2 * part * c + i]
            second += totals[(2 * part + 1) * c + i]
        mean, scale, inverse = given[i], given[c + i], floats(inv_std, c)[i]
        second *= inverse
        k = second * inverse / m
        floats(dbeta, c)[i], floats(dgamma, c)[i] = first, second
        set_combination(i, c, -scale * k, scale * (k * mean - first / m), given, made)


@inlined
def set_combination(i, c, b, shift, given, made):
    """Rows (scale, b, shift) of dx = scale·g + b·x + shift, and those of g, in channel i; ``given`` = (μ, scale, …)."""
    made[i], made[c + i], made[2 * c + i] = given[c + i], b, shift
    for row in range(3):
        made[(3 + row) * c + i] = given[(1 + row) * c + i]


def normalized(x: Array, coefficients: Array, s: Array | None = None) -> Array:
    """:data:`normalize` of (N, H, W, C) into a new array, with the ReLU."""
    y, (n, h, w, c) = empty(x.shape), x.shape
    run(normalize.by_part(n, x, s, n, h * w, c, coefficients, True, y))
    return y


@entry_point
def part_gradient_sums(part, work, dy: Address, x: Address, y: Address, ds: Address, images: int, pixels: int, c: int,
                       coefficients: Shared, sums: Address):
    """sums[part] = Σ g, Σ g·(x - mean) for each channel, where g is dy as far as the ReLU let it through.

    ``coefficients`` = (mean, scale, shift, floor): dy passes where scale·x + shift > floor; or, where ``y`` is given,
    where y > 0, and then g is written to ``ds``.
    """
    before, size, width = _part(part, images, pixels, c)
    last = (size + width - 1) // width
    wide, total, short = _repeated(coefficients, 4, c, width), np.zeros((2, width)), np.empty((2, width), np.float32)
    mean, step, sums_at = address(wide), width * 4, address(short)
    for start in range(0, last, FLUSH):
        short[:] = 0
        for line in range(start, min(last, start + FLUSH)):
            at, n = before + line * step, min(width, size - line * width)
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
def combine(part, work, dy: Address, x: Address, images: int, pixels: int, c: int, coefficients: Shared, dx: Address):
    """dx = a·g + b·x + c, ``coefficients`` = (a, b, c, scale, shift, floor), g as in :data:`part_gradient_sums`."""
    before, size, width = _part(part, images, pixels, c)
    wide = _repeated(coefficients, 6, c, width)
    a, step = address(wide), width * 4
    for line in range((size + width - 1) // width):
        at, n = before + line * step, min(width, size - line * width)
        prefetch(dy + at + PREFETCH, step)
        prefetch(x + at + PREFETCH, step)
        _combine_line(n, (dy + at, x + at, a, a + step, a + 2 * step, a + 3 * step, a + 4 * step, a + 5 * step,
                          dx + at))
    hold(wide)
