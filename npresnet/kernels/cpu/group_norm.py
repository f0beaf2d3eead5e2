"""Group normalization, channels last: a second pass over the pixels follows the first while they lie in the cache.

A work item is a block of neighbouring channels, whole groups and whole vectors, of one image.
"""

from math import lcm

import numpy as np

from ...backend import Array, Pullback
from ...ops.group_norm import group_norm
from .arrays import empty, is_float32
from .channels import FLUSH, NO_FLOOR, finish_totals
from .codegen import lines
from .codegen.jit import floor_of, inlined
from .codegen.vector import LANES, doubles, floats
from .layout import channels_first, channels_last, contiguous
from .program.entry_point import Address, entry_point, run

ITEMS = 64            # at least, where narrower blocks give as many
WORK = 52             # bytes of workspace for each channel of a block

_add_moments, _add_cotangents, _combine = lines.add_moments, lines.add_cotangents, lines.combine
_affine, _affine_and_add = lines.affine, lines.affine_and_add


def supports(x, gamma, beta, *, groups, eps) -> bool:
    """A batch in float32 with whole vectors of channels."""
    return is_float32(x, gamma, beta) and x.ndim == 4 and gamma.shape == beta.shape == x.shape[1:2] \
        and x.size > 0 and len(x) > 1 and x.shape[1] % LANES == x.shape[1] % groups == 0


@group_norm.register("numba", supports)
def group_norm_numba(x: Array, gamma: Array, beta: Array, *, groups: int, eps: float) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.group_norm`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, moments, gamma.
    """
    x, gamma = channels_last(x), contiguous(gamma)
    (n, h, w, c), size = x.shape, x.shape[3] // groups
    block, pixels = block_of(c, size, n), h * w
    items, work_bytes = n * (c // block), WORK * block
    y, moments = empty(x.shape), empty((n, 2, c))            # μ and 1/√(σ² + ε), at every channel
    normalize(items, x, pixels, c, block, size, gamma, contiguous(beta), np.array([eps]), moments, None,
              False, y, work_bytes=work_bytes)

    def pullback(dy, skip=()):
        dx, sums = None if "x" in skip else empty(x.shape), empty((n, 2, c), np.float64)
        totals = empty((2, c))
        run(differentiate.launch(items, channels_last(dy), x, pixels, c, block, size, gamma, moments, sums, dx,
                                 work_bytes=work_bytes),
            finish_totals.launch(1, sums, n, 2 * c, totals))
        dbeta, dgamma = totals
        dx = None if dx is None else channels_first(dx)
        return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta

    return channels_first(y), pullback


def block_of(channels: int, size: int, images: int, items: int = ITEMS) -> int:
    """The channels of a block: the most that leave so many ``items``, or the fewest; ``size`` is that of a group."""
    narrowest = lcm(LANES, size)
    widths = [width for width in range(narrowest, channels + 1, narrowest) if channels % width == 0]
    return max((width for width in widths if images * channels // width >= items), default=min([*widths, channels]))


@entry_point
def normalize(item, work, x: Address, pixels: int, channels: int, block: int, size: int, gamma: Address, beta: Address,
              eps: Address, moments: Address, residual: Address, relu: bool, y: Address):
    """A block of ``block`` channels of an image, in groups of ``size``; ``pixels`` counts those of one image.

    y = max(floor, γ (x − μ)/√(σ² + ε) + β + s).  ``eps`` is a float64; μ and 1/√(σ² + ε) of each image are written to
    ``moments`` (n, 2, c), or not where it is None.
    """
    blocks = channels // block
    image, first = item // blocks, item % blocks * block
    at = (image * pixels * channels + first) * 4
    s = residual + at if residual != 0 else 0
    own = work + (WORK - 8) * block
    here, gap = (moments + (image * 2 * channels + first) * 4, channels * 4) if moments != 0 else (own, 4 * block)
    _normalize_block(x + at, s, pixels, channels * 4, block, size, gamma + first * 4, beta + first * 4, eps, here, gap,
                     floor_of(relu), y + at, work)


@inlined
def _normalize_block(x, s, pixels, step, block, size, gamma, beta, eps, moments, gap, floor, y, work):
    """y = max(floor, γ (x − μ)/√(σ² + ε) + β + s) for one item; ``s`` is an address or 0.

    ``step`` bytes lie between pixels; μ is written to ``moments`` and 1/√(σ² + ε) ``gap`` bytes behind, both at every
    channel.  ``eps`` is the address of a float64, ``work`` that of WORK bytes for each channel.
    """
    totals, sums, scale, width = doubles(work, 2 * block), work + 16 * block, work + 24 * block, 4 * block
    short = floats(sums, 2 * block)
    totals[:] = 0
    for start in range(0, pixels, FLUSH):
        short[:] = 0
        for p in range(start, min(pixels, start + FLUSH)):
            _add_moments(block, (x + p * step, x, sums, sums + width))
        for k in range(2 * block):
            totals[k] += short[k]
    _group_moments(totals, floats(x, block), pixels, size, doubles(eps, 1)[0], floats(moments, block),
                   floats(moments + gap, block))
    _coefficients(floats(gamma, block), floats(beta, block), floats(moments, block), floats(moments + gap, block),
                  floor, floats(scale, block), floats(scale + width, block), floats(scale + 2 * width, block))
    for p in range(pixels):
        at = p * step
        if s == 0:
            _affine(block, (x + at, scale, scale + width, scale + 2 * width, y + at))
        else:
            _affine_and_add(block, (x + at, scale, scale + width, scale + 2 * width, s + at, y + at))


@inlined
def _group_moments(totals, origin, pixels, size, eps, mean, inv_std):
    """Of each group, from Σ d and Σ d² of its channels, d = x − origin: σ² is that inside channels and between them."""
    block = len(origin)
    for start in range(0, block, size):
        end, mu, var = min(block, start + size), 0.0, 0.0
        for k in range(start, end):
            mu += origin[k] + totals[k] / pixels
        mu /= end - start
        for k in range(start, end):
            d = totals[k] / pixels
            var += totals[block + k] / pixels - d * d + (origin[k] + d - mu) ** 2
        if var < 0:                                                     # a NaN stays
            var = 0.0
        mean[start:end], inv_std[start:end] = mu, 1 / np.sqrt(var / (end - start) + eps)


@inlined
def _coefficients(gamma, beta, mean, inv_std, floor, scale, shift, floors):
    for k in range(len(gamma)):
        scale[k] = gamma[k] * inv_std[k]
        shift[k] = beta[k] - scale[k] * mean[k]
        floors[k] = floor


@entry_point
def differentiate(item, work, dy: Address, x: Address, pixels: int, channels: int, block: int, size: int,
                  gamma: Address, moments: Address, sums: Address, dx: Address):
    """The pullback of :data:`normalize`: Σ dy and Σ dy·x̂ in ``sums`` (n, 2, c), and dx where it is not None."""
    blocks = channels // block
    image, first = item // blocks, item % blocks * block
    at, row = (image * pixels * channels + first) * 4, image * 2 * channels + first
    _differentiate_block(dy + at, x + at, pixels, channels * 4, block, size, gamma + first * 4, moments + row * 4,
                         channels * 4, sums + row * 8, 0 if dx == 0 else dx + at, work)


@inlined
def _differentiate_block(dy, x, pixels, step, block, size, gamma, moments, gap, sums, dx, work):
    """Σ dy and Σ dy·x̂ of each channel, and dx where it is not 0."""
    totals, short_at, rows, width = doubles(work, 2 * block), work + 16 * block, work + 24 * block, 4 * block
    short, open_floor = floats(short_at, 2 * block), floats(rows + 3 * width, block)
    inv_std, zero = floats(moments + gap, block), rows + 4 * width
    totals[:], open_floor[:], floats(zero, block)[:] = 0, np.float32(NO_FLOOR), 0
    for start in range(0, pixels, FLUSH):
        short[:] = 0
        for p in range(start, min(pixels, start + FLUSH)):
            at = p * step
            _add_cotangents(block, (dy + at, x + at, moments, zero, zero, rows + 3 * width, short_at,
                                    short_at + width))
        for k in range(2 * block):
            totals[k] += short[k]
    for k in range(block):
        totals[block + k] *= inv_std[k]                                 # Σ dy·x̂
        doubles(sums, block)[k], doubles(sums + 2 * gap, block)[k] = totals[k], totals[block + k]
    if dx != 0:
        _rows(totals, floats(gamma, block), floats(moments, block), inv_std, pixels, size, floats(rows, 3 * block))
        for p in range(pixels):
            at = p * step
            _combine(block, (dy + at, x + at, rows, rows + width, rows + 2 * width, zero, zero, rows + 3 * width,
                             dx + at))


@inlined
def _rows(totals, gamma, mean, inv_std, pixels, size, rows):
    """a, b, c of dx = a·dy + b·x + c = 1/σ · (γ dy − mean(γ dy) − x̂ · mean(γ dy·x̂)), σ for √(σ² + ε)."""
    block = len(gamma)
    for start in range(0, block, size):
        end, first, second = min(block, start + size), 0.0, 0.0
        for k in range(start, end):
            first += gamma[k] * totals[k]
            second += gamma[k] * totals[block + k]
        first, second = first / (pixels * (end - start)), second / (pixels * (end - start))
        for k in range(start, end):
            b = -inv_std[k] * inv_std[k] * second
            rows[k], rows[block + k], rows[2 * block + k] = inv_std[k] * gamma[k], b, -inv_std[k] * first - b * mean[k]
