"""The convolution itself, by whichever algorithm is fastest, with filters that have just changed."""

from typing import NamedTuple

import numpy as np
from numba import get_num_threads

from ....backend import Array
from ....ops.window import Window
from ..arrays import empty
from ..channels import NO_FLOOR, normalized
from ..codegen.vector import LANES
from ..layout import channels_first, channels_last
from . import slide
from .band import band_bytes, convolve, top_left, window_numbers
from .cost_model import band_partition, product_partition, winograd_partition
from .pack import GAP, panels
from .product import product
from .repack import pack_filters, transform_filters
from .winograd import winograd, winograd_bytes

WINOGRAD_CHANNELS = 4 * LANES    # from which F(2x2, 3x3) pays for its transforms
SLIDE_ROWS = 16                  # output rows in a band of :mod:`.slide`
ZEROS = np.zeros(16384, np.float32)


class Output(NamedTuple):
    """A result as the kernels take it."""

    bias: Array
    y: Array
    shape: tuple[int, ...]
    residual: Array | None = None
    floor: float = NO_FLOOR


def bias_of(w: Array, b: Array | None) -> Array:
    """The bias b as the kernels read it, zeros where there is none."""
    return np.zeros(len(w), np.float32) if b is None else np.ascontiguousarray(b)


def forward(x: Array, w: Array, bias: Array, window: Window, flipped: bool = False, prologue: Array | None = None) \
        -> Array:
    """The convolution as (N, F, oh, ow) with channels-last strides.

    With ``prologue``, the rows (scale, shift, floor) for each channel, it is that of max(floor, scale·x + shift).
    ``flipped``: by the transposed filters, w as (C, F, kh, kw) with its taps reversed.
    """
    n, c = x.shape[:2]
    f, (oh, ow), threads = w.shape[1] if flipped else w.shape[0], window.output_size(x.shape[2:]), get_num_threads()
    y, packed = empty((n, oh, ow, f)), _packed(w, flipped)
    out, band = Output(bias, y, y.shape), band_partition(n, oh, ow, w.size // f, f, threads)
    slides = slide.supports(window, c, f) and slide.supports_width(ow)
    x = x if slides else apply_prologue(x, prologue)
    tiles = winograd_partition(2, n * -(-oh // 2) * -(-ow // 2), c, f, threads)
    x = channels_last(x) if c % LANES == 0 else np.ascontiguousarray(x).transpose(0, 2, 3, 1)
    if window.kernel == (1, 1) and c % LANES == 0 and not any(sum(window.padding, ())):
        part = product_partition(n * oh * ow, c, f, threads)
        product(x, x.shape, window.stride, packed, *out, part.block, part.splits)
    elif window[:2] == ((3, 3), (1, 1)) and min(c, f) >= WINOGRAD_CHANNELS and tiles.cost < band.cost:
        _winograd(x, packed, out, window, tiles, threads)
    elif slides:
        _slide(x, packed, out, window, min(oh, SLIDE_ROWS), threads, prologue)
    else:
        _direct(x, packed, out, window, band, threads)
    return channels_first(y)


def _packed(w, flipped):
    """Panels of the filters; ``flipped`` for the transposed convolution: taps reversed, f and c exchanged."""
    w = np.ascontiguousarray(w)
    f, c, taps = w.shape[0], w.shape[1], w.shape[2] * w.shape[3]
    packed = empty(w.size)
    if flipped:
        pack_filters(w.reshape(-1)[taps - 1:], (c, f, taps), (taps, c * taps, -1), packed)
    else:
        pack_filters(w, (f, c, taps), (c * taps, taps, 1), packed)
    return packed


def _direct(x, packed, out, window, part, threads):
    """By tiles of a product, over bands of output rows."""
    size = band_bytes(part.block, out.shape[2], x.shape[3], window_numbers(window))
    convolve(x, x.shape, strides_of(x), window_numbers(window), 1, packed, *out, part.block, part.splits,
             empty(threads * size, np.uint8), size)


def _slide(x, packed, out, window, rows, threads, prologue):
    """By sliding over bands of output rows."""
    size = band_bytes(rows, out.shape[2], x.shape[3], window_numbers(window))
    slide.slide_over(x, x.shape, strides_of(x), window_numbers(window), packed, out.bias, out.y, out.shape, rows,
                     repeat_along_row(prologue, x.shape[2]), empty(threads * size, np.uint8), size)


def _winograd(x, packed, out, window, part, threads):
    """By F(2x2, 3x3), with filters that have just changed."""
    c, f, size = x.shape[3], out.shape[3], winograd_bytes(2, part.block, x.shape[3])
    u, work = empty(16 * (f * c + GAP * len(list(panels(f))))), empty(threads * size, np.uint8)
    transform_filters(packed, f, c, u)
    winograd(2, x, x.shape, top_left(window), u, *out, part.block, part.splits, work, size, ZEROS)


def strides_of(x: Array) -> tuple[int, ...]:
    """Bytes from image to image, channel, row and column of an array (N, H, W, C)."""
    return tuple(x.strides[axis] for axis in (0, 3, 1, 2))


def apply_prologue(x: Array, prologue: Array | None) -> Array:
    """max(floor, scale·x + shift), or x itself where ``prologue`` is None."""
    return x if prologue is None else channels_first(normalized(channels_last(x), prologue))


def repeat_along_row(prologue: Array | None, width: int) -> Array | None:
    """The coefficients of every value in a row of pixels, as :func:`.band.copy_band` reads them; None for None."""
    return None if prologue is None else np.tile(prologue, width)
