"""The convolution itself, by whichever algorithm is fastest, with filters that have just changed."""

from typing import NamedTuple

import numpy as np

from ....backend import Array
from ....ops.window import Window
from ..arrays import empty
from ..channels import normalized
from ..codegen.vector import LANES
from ..layout import channels_first, channels_last
from ..program.entry_point import run
from ..threads import threads_now
from . import slide
from .band import band_bytes, convolution, top_left, window_numbers
from .cost_model import CHOOSING, band_partition, ceil_div, panel_count, product_partition, winograd_partition
from .pack import GAP, panels
from .product import product
from .repack import pack_filters, transform_filters
from .winograd import winograd2, winograd_bytes

WINOGRAD_CHANNELS = 4 * LANES    # from which F(2x2, 3x3) pays for its transforms
SLIDE_ROWS = 16                  # output rows in a band of :mod:`.slide`
ZEROS = np.zeros(16384, np.float32)


class Output(NamedTuple):
    """A result as the kernels take it."""

    bias: Array
    y: Array
    shape: tuple[int, ...]
    residual: Array | None = None
    relu: bool = False


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
    f, (oh, ow), threads = w.shape[1] if flipped else w.shape[0], window.output_size(x.shape[2:]), threads_now()
    y, packed = empty((n, oh, ow, f)), _packed(w, flipped)
    out, sizes = Output(bias, y, y.shape), (n, oh, ow, w.size // f, f)
    slides = slide.supports(window, c, f) and slide.supports_width(ow)
    x = x if slides else apply_prologue(x, prologue)
    tiles = n * ceil_div(oh, 2) * ceil_div(ow, 2)
    x = channels_last(x) if c % LANES == 0 else np.ascontiguousarray(x).transpose(0, 2, 3, 1)
    if window.kernel == (1, 1) and c % LANES == 0 and not any(sum(window.padding, ())):
        part = product_partition(n * oh * ow, c, f, threads)
        product(ceil_div(n * oh * ow, part.block) * part.splits, x, x.shape, window.stride, packed, *out, *part[1:])
    elif window[:2] == ((3, 3), (1, 1)) and min(c, f) >= WINOGRAD_CHANNELS \
            and winograd_partition(2, tiles, c, f, CHOOSING).cost < band_partition(*sizes, CHOOSING).cost:
        _winograd(x, packed, out, window, winograd_partition(2, tiles, c, f, threads))
    elif slides:
        _slide(x, packed, out, window, min(oh, SLIDE_ROWS), prologue)
    else:
        _direct(x, packed, out, window, band_partition(*sizes, threads))
    return channels_first(y)


def _packed(w, flipped):
    """Panels of the filters; ``flipped`` for the transposed convolution: taps reversed, f and c exchanged."""
    w = np.ascontiguousarray(w)
    f, c, taps = w.shape[0], w.shape[1], w.shape[2] * w.shape[3]
    packed, panels = empty(w.size), panel_count(c if flipped else f)
    if flipped:
        pack_filters(panels, w.reshape(-1)[taps - 1:], (c, f, taps), (taps, c * taps, -1), packed)
    else:
        pack_filters(panels, w, (f, c, taps), (c * taps, taps, 1), packed)
    return packed


def _direct(x, packed, out, window, part):
    """By tiles of a product, over bands of output rows."""
    sides, (n, oh, ow, _) = window_numbers(window), out.shape
    convolution(n * ceil_div(oh, part.block) * part.splits, x, x.shape, strides_of(x), sides, 1, packed, *out,
                *part[1:], work_bytes=band_bytes(part.block, ow, x.shape[3], sides))


def _slide(x, packed, out, window, rows, prologue):
    """By sliding over bands of output rows."""
    sides, (n, oh, ow, _) = window_numbers(window), out.shape
    slide.slide_over(n * ceil_div(oh, rows), x, x.shape, strides_of(x), sides, packed, out.bias, out.y, out.shape, rows,
                     repeat_along_row(prologue, x.shape[2]), work_bytes=band_bytes(rows, ow, x.shape[3], sides))


def _winograd(x, packed, out, window, part):
    """By F(2x2, 3x3), with filters that have just changed."""
    c, (n, oh, ow, f) = x.shape[3], out.shape
    u, tiles = empty(16 * (f * c + GAP * len(list(panels(f))))), n * ceil_div(oh, 2) * ceil_div(ow, 2)
    run(transform_filters.launch(c, packed, f, c, u),
        winograd2.launch(ceil_div(tiles, part.block) * part.splits, x, x.shape, top_left(window), u, *out, *part[1:],
                         ZEROS, work_bytes=winograd_bytes(2, part.block, c)))


def strides_of(x: Array) -> tuple[int, ...]:
    """Bytes from image to image, channel, row and column of an array (N, H, W, C)."""
    return tuple(x.strides[axis] for axis in (0, 3, 1, 2))


def apply_prologue(x: Array, prologue: Array | None) -> Array:
    """max(floor, scale·x + shift), or x itself where ``prologue`` is None."""
    return x if prologue is None else channels_first(normalized(channels_last(x), prologue))


def repeat_along_row(prologue: Array | None, width: int) -> Array | None:
    """The coefficients of every value in a row of pixels, as :func:`.band.copy_band` reads them; None for None."""
    return None if prologue is None else np.tile(prologue, width)
