"""The convolution itself, by whichever algorithm is fastest, with filters that have just changed."""

import numpy as np
from numba import get_num_threads

from ..arrays import empty
from ..channels import normalized
from .band import band_bytes, convolve
from .cost_model import band_cut, rows_cut, winograd_cut
from .pack import GAP, LANES, panels
from .product import product
from .repack import pack_filters, transform_filters
from .slide import few, fills, slide_over
from .winograd import winograd, winograd_bytes

NO_FLOOR = float("-inf")
TRANSFORMED = 4 * LANES          # channels from which F(2x2, 3x3) pays for its transforms
SLIDING = 16                     # output rows in a band
ZEROS = np.zeros(16384, np.float32)


def last(x):
    """Images as a contiguous (N, H, W, C) array: a copy only where the memory is in another order."""
    x = x.transpose(0, 2, 3, 1)
    if not x.flags.c_contiguous:
        x, source = empty(x.shape, x.dtype), x
        x[...] = source
    return x


def _packed(w, flipped=False):
    """Panels of the filters; ``flipped`` for the transposed convolution: taps reversed, f and c exchanged."""
    w = np.ascontiguousarray(w)
    f, c, taps = w.shape[0], w.shape[1], w.shape[2] * w.shape[3]
    packed = empty(w.size)
    if flipped:
        pack_filters(w.reshape(-1)[taps - 1:], (c, f, taps), (taps, c * taps, -1), packed)
    else:
        pack_filters(w, (f, c, taps), (c * taps, taps, 1), packed)
    return packed


def bias_of(w, b):
    """The bias b as the kernels read it, zeros where there is none."""
    return np.zeros(len(w), np.float32) if b is None else np.ascontiguousarray(b)


def forward(x, w, bias, window, flipped=False, bend=None):
    """The convolution as (N, F, oh, ow) with channels-last strides.

    With ``bend``, the rows (scale, shift, floor) for each channel, it is that of max(floor, scale·x + shift).
    """
    n, c = x.shape[:2]
    f, (oh, ow), threads = w.shape[1] if flipped else w.shape[0], window.output_size(x.shape[2:]), get_num_threads()
    y, packed = empty((n, oh, ow, f)), _packed(w, flipped)
    at, band = (bias, y, y.shape, None, NO_FLOOR), band_cut(n, oh, ow, w.size // f, f, threads)
    slides = few(window, c, f) and fills(ow)
    x = x if slides else bent(x, bend)
    tiles = winograd_cut(2, n * -(-oh // 2) * -(-ow // 2), c, f, threads)
    x = last(x) if c % LANES == 0 else np.ascontiguousarray(x).transpose(0, 2, 3, 1)
    if window.kernel == (1, 1) and c % LANES == 0 and not any(sum(window.padding, ())):
        cut = rows_cut(n * oh * ow, c, f, threads)
        product(x, x.shape, window.stride, packed, *at, cut.block, cut.splits)
    elif window[:2] == ((3, 3), (1, 1)) and min(c, f) >= TRANSFORMED and tiles.cost < band.cost:
        _winograd(x, packed, at, window, tiles, threads)
    else:
        if slides:
            band = band._replace(block=min(oh, SLIDING))
        _direct(x, packed, at, window, band, threads, slides, bend)
    return y.transpose(0, 3, 1, 2)


def _direct(x, packed, at, window, cut, threads, slides, bend):
    """Bands of output rows, by tiles of a product or by sliding."""
    c = x.shape[3]
    sides = (*window.kernel, *window.stride, *window.dilation, window.padding[0][0], window.padding[1][0])
    size = band_bytes(cut.block, at[2][2], c, sides)
    images = x, x.shape, tuple(x.strides[axis] for axis in (0, 3, 1, 2)), sides
    work = empty(threads * size, np.uint8)
    if slides:
        bend = along_a_row(bend, x.shape[2])
        slide_over(*images, packed, *at[:3], cut.block, bend, work, size)
    else:
        convolve(*images, 1, packed, *at, cut.block, cut.splits, work, size)


def bent(x, bend):
    """max(floor, scale·x + shift), or x itself where ``bend`` is None."""
    return x if bend is None else normalized(last(x), bend).transpose(0, 3, 1, 2)


def along_a_row(bend, width):
    """The coefficients of every value in a row of pixels, as ``band.copy_band`` reads them; None for None."""
    return None if bend is None else np.tile(bend, width)


def _winograd(x, packed, at, window, cut, threads):
    """F(2x2, 3x3) with filters that have just changed."""
    c, f, size = x.shape[3], at[2][3], winograd_bytes(2, cut.block, x.shape[3])
    u, work = empty(16 * (f * c + GAP * len(list(panels(f))))), empty(threads * size, np.uint8)
    transform_filters(packed, f, c, u)
    winograd(2, x, x.shape, (window.padding[0][0], window.padding[1][0]), u, *at, cut.block, cut.splits, work, size,
             ZEROS)
