"""The pullback of a convolution through the kernels here."""

from typing import cast

import numpy as np

from ....backend import Array
from ....ops.conv import conv2d
from ....ops.window import Window
from ..arrays import empty
from ..channels import finish_totals, totals
from ..codegen.vector import LANES
from ..layout import channels_first, channels_last, contiguous
from ..pointwise import interleave
from ..program.chains import parts
from ..program.entry_point import run
from ..threads import threads_now
from . import slide
from .band import band_bytes, top_left, window_numbers
from .filter_gradient import add_products, pad_images, pixel_gradient, transform_tiles
from .forward import SLIDE_ROWS, WINOGRAD_CHANNELS, ZEROS, apply_prologue, forward, repeat_along_row, strides_of
from .pack import merged_groups
from .repack import unpack_gradient, unpack_groups, untransform_gradient
from .slide_gradient import add_parts, slide_gradient

TILES_AT_ONCE = 16 * 2**20       # bytes of transformed tiles in memory while filters get their gradient


def image_gradient(dy: Array, w: Array, x: Array, window: Window, groups: int = 1) -> Array:
    """dX; where x has the few channels of an image, by the reference.

    Every s-th pixel meets the same taps, every s-th of each kernel row and column: with a stride of s, dX is s·s
    interleaved images, each a convolution of dY with its own part of the flipped filters.
    """
    if x.shape[1] % LANES:
        _, pullback = conv2d.reference(x, w, stride=window.stride, padding=window.padding)
        return pullback(dy, skip={"w", "b"})[0]
    rows, columns = ([_phase(a, k, s, p[0], i, o) for a in range(s)] for k, s, p, i, o in
                     zip(window.kernel, window.stride, window.padding, x.shape[2:], dy.shape[2:]))
    if window.stride == (1, 1):
        return cast(Array, _phase_gradient(dy, w, rows[0], columns[0], groups))     # no pixel is left out
    n, c, h, width = x.shape
    dx = empty((n, h, width, c))
    for row in rows:
        for column in columns:
            size = len(range(row[0], h, window.stride[0])), len(range(column[0], width, window.stride[1]))
            if 0 in size:                                               # an image smaller than the stride
                continue
            part = _phase_gradient(dy, w, row, column, groups)
            run(interleave.by_image(n, size[0], part, (n, *size, c), dx, dx.shape, (row[0], column[0]), window.stride))
    return channels_first(dx)


def _phase(a, kernel, stride, before, pixels, outputs):
    """Along one axis, for the taps a, a + s, …: (their first pixel, the taps, the part of dy they read, its padding).

    Tap a + s·k of output P - k reads pixel s·P + a - before.
    """
    taps, first = slice(a, None, stride), -((a - before) // stride)         # first P = ⌈(before - a) / s⌉
    start = stride * first + a - before
    count = len(range(start, pixels, stride))
    low, high = len(range(a, kernel, stride)) - 1 - first, first + count - outputs
    return start, taps, slice(max(0, -low), outputs - max(0, -high)), (max(0, low), max(0, high))


def _phase_gradient(dy, w, row, column, groups):
    """The pixels of one phase, with channels-last strides; None where no tap reads them."""
    part, w = dy[:, :, row[2], column[2]], w[:, :, row[1], column[1]]
    if not part.size or not w.size:
        return None
    window = Window.of(w.shape[2:], padding=(row[3], column[3]))
    return forward(part, w, np.zeros(w.shape[1] * groups, np.float32), window, groups, flipped=True)


def filter_gradient(x: Array, dy: Array, shape: tuple[int, ...], window: Window, groups: int = 1,
                    prologue: Array | None = None) -> Array:
    """dW: wide 3x3 filters of stride 1 by Winograd, others as sums over pixels; ``prologue`` as in ``forward``."""
    f, c, kh, kw = shape
    if groups > 1:
        return _group_gradient(channels_last(apply_prologue(x, prologue)), channels_last(dy), shape, window, groups)
    slides = slide.supports(window, c, f) and max(sum(window.padding, ())) <= 2
    x = x if slides else apply_prologue(x, prologue)
    dy, dw, out = channels_last(dy), empty((kh * kw, c, f)), empty(shape)
    if window[:2] == ((1, 1), (1, 1)) and not any(sum(window.padding, ())) and c % LANES == 0:
        x, shares = channels_last(x), threads_now()                     # dW = dYᵀ X of pixels, laid out as it is kept
        pixel_gradient(shares, dy, strides_of(dy), f, (1, 1, 1, 1), x, x.shape, 1, ZEROS, out, shares)
        return out
    if window[:2] == ((3, 3), (1, 1)) and min(c, f) >= WINOGRAD_CHANNELS[2]:
        _winograd_gradient(channels_last(x), dy, window, dw)
    elif slides:
        _slide_gradient(channels_last(x), dy, window, dw, prologue)
    else:
        x, shares = _padded(x, dy.shape[1:3], window), threads_now()
        pixel_gradient(shares, x, strides_of(x), c, (kh, kw, *window.stride), dy, dy.shape, 1, ZEROS, dw, shares)
    unpack_gradient(f // LANES, dw, (f, c, kh * kw), out)
    return out


def bias_gradient(dy: Array) -> Array:
    """db = Σ dy over all pixels of all images."""
    dy = channels_last(dy)
    n, h, w, c = dy.shape
    sums, db = empty((parts(n), c), np.float64), empty(c)
    run(totals.by_part(n, dy, n, h * w, c, sums), finish_totals.launch(1, sums, parts(n), c, db))
    return db


def _group_gradient(x, dy, shape, window, groups):
    """As sums over pixels, for merged groups where they are narrow."""
    f, c, kh, kw = shape
    merged = merged_groups(shape, groups)
    size, small, out = (c * groups // merged, f // merged), (c, f // groups), empty(shape)
    dw, x = empty((merged, kh * kw, *size)), _padded(channels_first(x), dy.shape[1:3], window)
    run(pixel_gradient.launch(merged, x, strides_of(x), size[0], (kh, kw, *window.stride), dy, dy.shape, merged, ZEROS,
                              dw, 1),
        unpack_groups.launch(merged, dw, size, small, kh * kw, out))
    return out


def _slide_gradient(x, dy, window, dw, prologue):
    sums = empty((parts(len(x)), *dw.shape))
    rows, (top, left) = min(SLIDE_ROWS, x.shape[1]), top_left(window)
    transposed = (3, 3, 1, 1, 1, 1, 2 - top, 2 - left)
    size = band_bytes(rows, x.shape[2], dy.shape[3], transposed) + (0 if prologue is None else rows * x[0, 0].nbytes)
    prologue = repeat_along_row(prologue, x.shape[2])
    run(slide_gradient.by_part(len(x), x, x.shape, dy, dy.shape, strides_of(dy), transposed, rows, prologue, sums,
                              work_bytes=size),
        add_parts.launch(9, sums, parts(len(x)), dw[0].size, dw))


def _padded(x, size, window):
    """What the ``size`` outputs see of the images and their padding, as (N, H, W, C)."""
    if not any(sum(window.padding, ())) and x.shape[1] % LANES == 0:
        return channels_last(x)
    x = channels_last(x) if x.shape[1] % LANES == 0 else contiguous(x).transpose(0, 2, 3, 1)
    seen = ((o - 1) * s + k for o, s, k in zip(size, window.stride, window.kernel))
    padded = empty((len(x), *seen, x.shape[3]))
    run(pad_images.by_image(len(x), 1, x, x.shape, strides_of(x), window_numbers(window), padded, size))
    return padded


def _winograd_gradient(x, dy, window, dw):
    """dg = G' (Σ V' dM) G over groups of tiles."""
    c, f = x.shape[3], dy.shape[3]
    tiles = dy.shape[0] * -(-dy.shape[1] // 4) * -(-dy.shape[2] // 4)
    group = min(tiles, max(48, TILES_AT_ONCE // (36 * 4 * (c + f))))
    v, dm = (empty(36 * (group * k + 16)) for k in (c, f))
    du = empty((36, c, f))
    for first in range(0, tiles, group):
        n = min(group, tiles - first)
        run(transform_tiles.launch(n, x, x.shape, top_left(window), dy, dy.shape, first, n, v, dm, ZEROS),
            add_products.launch(36, v, c, dm, f, n, du, first == 0, ZEROS))
    untransform_gradient(c, du, f, c, dw)
