"""The convolution itself, by whichever algorithm is fastest, with filters that have just changed."""

from typing import NamedTuple

import numpy as np

from ....backend import Array
from ....ops.window import Window
from ..arrays import empty
from ..channels import normalized
from ..codegen.vector import LANES
from ..layout import channels_first, channels_last, contiguous
from ..pointwise import repeat_pixel
from ..program.entry_point import run
from ..threads import threads_now
from . import slide
from .band import band_bytes, convolution, top_left, window_numbers
from .cost_model import CHOOSING, band_partition, ceil_div, panel_count, product_partition, winograd_partition
from .grouped import grouped4, grouped8, grouped16
from .pack import GAP, merged_groups, panels
from .product import product
from .repack import pack_filters, pack_groups, pack_lanes, transform_filters
from .winograd import winograd2, winograd4, winograd_bytes

WINOGRAD_CHANNELS = {2: 4 * LANES, 4: 2 * LANES}    # from which F(m x m, 3x3) pays for its transforms
LARGE = 160                      # pixels or tiles from which an image is cut into blocks of its own
SLIDE_ROWS = 16                  # output rows in a band of :mod:`.slide`
GROUPED = {size: kernel for size, kernel in ((4, grouped4), (8, grouped8), (16, grouped16)) if size <= LANES}
GROUPED_ROWS = 7                 # rows in an item of those
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
    return np.zeros(len(w), np.float32) if b is None else contiguous(b)


def forward(x: Array, w: Array, bias: Array, window: Window, groups: int = 1, flipped: bool = False,
            prologue: Array | None = None) -> Array:
    """The convolution as (N, F, oh, ow) with channels-last strides.

    With ``prologue``, the rows (scale, shift, floor) for each channel, it is that of max(floor, scale·x + shift).
    ``flipped``: by the transposed filters, w as (C, F, kh, kw) with its taps reversed.
    """
    n, c = x.shape[:2]
    f, (oh, ow), threads = w.shape[1] * groups if flipped else len(w), window.output_size(x.shape[2:]), threads_now()
    y = empty((n, oh, ow, f))
    out, sizes = Output(bias, y, y.shape), (n, oh, ow, w.size // f, f)
    if groups > 1:
        _in_groups(channels_last(apply_prologue(x, prologue)), w, out, window, groups, flipped, threads)
        return channels_first(y)
    packed = _packed(w, flipped)
    m = _winograd_tile(window, sizes, c, flipped)
    slides = not m and slide.supports(window, c, f) and slide.supports_width(ow)
    x = x if slides else apply_prologue(x, prologue)
    x = channels_last(x) if c % LANES == 0 else contiguous(x).transpose(0, 2, 3, 1)
    if window.kernel == (1, 1) and c % LANES == 0 and not any(sum(window.padding, ())):
        _product(x, packed, out, window.stride, threads)
    elif m:
        _winograd(m, x, packed, out, window, threads)
    elif slides:
        _slide(x, packed, out, window, min(oh, SLIDE_ROWS), prologue)
    else:
        _direct(x, packed, out, window, band_partition(*sizes, threads))
    return channels_first(y)


def _packed(w, flipped):
    """Panels of the filters; ``flipped`` for the transposed convolution: taps reversed, f and c exchanged."""
    w = w[:, :, ::-1, ::-1].swapaxes(0, 1) if flipped else w
    packed = empty(w.size)
    pack_filters(panel_count(len(w)), w, w.shape, floats_between(w), packed)
    return packed


def floats_between(w: Array) -> tuple[int, ...]:
    """The strides of an array in floats."""
    return tuple(stride // 4 for stride in w.strides)


def _product(x, packed, out, stride, threads):
    """By one product, image by image where they are large."""
    n, oh, ow, f = out.shape
    groups, c = n if oh * ow >= LARGE else 1, x.shape[3]
    part = product_partition(n * oh * ow // groups, c, f, 1 if groups > 1 else threads)
    each = ceil_div(n * oh * ow // groups, part.block) * part.splits
    given = x, x.shape, stride, packed, *out, *part[1:], groups
    run(product.by_image(n, each, *given) if groups > 1 else product.launch(each, *given))


def _direct(x, packed, out, window, part):
    """By tiles of a product, over bands of output rows."""
    sides, (n, oh, ow, _) = window_numbers(window), out.shape
    run(convolution.by_image(n, ceil_div(oh, part.block) * part.splits, x, x.shape, strides_of(x), sides, 1, packed,
                             *out, *part[1:], work_bytes=band_bytes(part.block, ow, x.shape[3], sides)))


def _slide(x, packed, out, window, rows, prologue):
    """By sliding over bands of output rows."""
    sides, (n, oh, ow, _) = window_numbers(window), out.shape
    run(slide.slide_over.by_image(n, ceil_div(oh, rows), x, x.shape, strides_of(x), sides, packed, out.bias, out.y,
                                  out.shape, rows, repeat_along_row(prologue, x.shape[2]),
                                  work_bytes=band_bytes(rows, ow, x.shape[3], sides)))


def _in_groups(x, w, out, window, groups, flipped, threads):
    """Narrow groups by shuffles, wide or merged ones by tiles of a product."""
    c, (n, oh, ow, f), size = x.shape[3], out.shape, w.shape[1]
    if window.kernel == (3, 3) and window.stride in ((1, 1), (2, 2)) and c == f and size in GROUPED \
            and w.flags.c_contiguous:
        packed = empty(w.size)
        run(pack_lanes.launch(f // LANES, w, size, flipped, packed),
            GROUPED[size].by_image(n, ceil_div(oh, GROUPED_ROWS), x, x.shape, window.stride[0], top_left(window),
                                   packed, out.bias, out.y, out.shape, False, GROUPED_ROWS, ZEROS, work_bytes=4 * f))
        return
    merged, taps = merged_groups(w.shape, groups), window.kernel[0] * window.kernel[1]
    sizes, small = (w.shape[1] * groups // merged, len(w) // merged), (w.shape[1], len(w) // groups)
    packed, sides = empty(merged * sizes[0] * sizes[1] * taps), window_numbers(window)
    w = w[:, :, ::-1, ::-1] if flipped else w
    part = band_partition(n, oh, ow, c // merged * taps, f, threads)
    run(pack_groups.launch(merged, w, sizes, small, window.kernel, floats_between(w), flipped, packed),
        convolution.by_image(n, ceil_div(oh, part.block) * part.splits, x, x.shape, strides_of(x), sides, merged,
                             packed, *out, *part[1:], work_bytes=band_bytes(part.block, ow, c, sides)))


def _winograd_tile(window, sizes, c, flipped) -> int:
    """m where F(m x m, 3x3) is the cheapest, or 0.

    F(4x4, 3x3) rounds ten times as coarsely as F(2x2, 3x3).  Values of the forward pass it would carry across the
    kinks of ReLUs, and training away from PyTorch's; gradients only weigh what those let through.
    """
    n, oh, ow, _, f = sizes
    costs = {0: band_partition(*sizes, CHOOSING).cost}
    for m in (2, 4) if flipped else (2,):
        if window[:2] == ((3, 3), (1, 1)) and min(c, f) >= WINOGRAD_CHANNELS[m]:
            costs[m] = winograd_partition(m, n * ceil_div(oh, m) * ceil_div(ow, m), c, f, CHOOSING).cost
    return min(costs, key=lambda m: costs[m])


def _winograd(m, x, packed, out, window, threads):
    """By F(m x m, 3x3), with filters that have just changed."""
    c, (n, oh, ow, f) = x.shape[3], out.shape
    u, tiles = empty((m + 2)**2 * (f * c + GAP * len(list(panels(f))))), ceil_div(oh, m) * ceil_div(ow, m)
    groups, kernel = n if tiles >= LARGE else 1, {2: winograd2, 4: winograd4}[m]
    part = winograd_partition(m, tiles * n // groups, c, f, 1 if groups > 1 else threads)
    each, work_bytes = ceil_div(tiles * n // groups, part.block) * part.splits, winograd_bytes(m, part.block, c)
    given = x, x.shape, top_left(window), u, *out, *part[1:], groups, ZEROS
    run(transform_filters.launch(c, m, packed, f, c, u),
        kernel.by_image(n, each, *given, work_bytes=work_bytes) if groups > 1
        else kernel.launch(each, *given, work_bytes=work_bytes))


def strides_of(x: Array) -> tuple[int, ...]:
    """Bytes from image to image, channel, row and column of an array (N, H, W, C)."""
    return tuple(x.strides[axis] for axis in (0, 3, 1, 2))


def apply_prologue(x: Array, prologue: Array | None) -> Array:
    """max(floor, scale·x + shift), or x itself where ``prologue`` is None."""
    return x if prologue is None else channels_first(normalized(channels_last(x), prologue))


def repeat_along_row(prologue: Array | None, width: int) -> Array | None:
    """The coefficients of every value in a row of pixels, as :func:`.band.copy_band` reads them; None for None."""
    if prologue is None:
        return None
    rows, c = prologue.shape
    wide = empty((rows, width, c))
    repeat_pixel(rows, prologue, c, width, wide)
    return wide
