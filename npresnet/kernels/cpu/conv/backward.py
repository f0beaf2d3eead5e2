"""The pullback of a convolution through the kernels here."""

import numpy as np
from numba import get_num_threads

from ....ops.conv import conv2d
from ....ops.window import Window
from ..arrays import empty
from ..pointwise import interleave
from .band import band_bytes
from .filter_gradient import frame_images, pixel_gradient, winograd_gradient
from .forward import SLIDING, TRANSFORMED, ZEROS, along_a_row, bent, forward, last
from .pack import LANES
from .repack import unpack_gradient, untransform_gradient
from .slide import few
from .slide_gradient import PARTS, slide_gradient

TILES_AT_ONCE = 16 * 2**20       # bytes of transformed tiles in memory while filters get their gradient


def image_gradient(dy, w, x, window):
    """dX; that of an image, with its few channels, by the reference.

    Every s-th pixel has met the same taps, every s-th of each kernel row and column: with a stride of s, dX is s·s
    images side by side, each a convolution of dY with its own part of the flipped filters.
    """
    if x.shape[1] % LANES:
        _, pullback = conv2d.reference(x, w, stride=window.stride, padding=window.padding)
        return pullback(dy, skip={"w", "b"})[0]
    rows, columns = ([_phase(a, k, s, p[0], i, o) for a in range(s)] for k, s, p, i, o in
                     zip(window.kernel, window.stride, window.padding, x.shape[2:], dy.shape[2:]))
    if window.stride == (1, 1):
        return _phase_gradient(dy, w, rows[0], columns[0])
    n, c, h, width = x.shape
    dx = empty((n, h, width, c))
    for row in rows:
        for column in columns:
            size = len(range(row[0], h, window.stride[0])), len(range(column[0], width, window.stride[1]))
            if 0 in size:                                               # an image smaller than the stride
                continue
            part = _phase_gradient(dy, w, row, column)
            interleave(part, (n, *size, c), dx, dx.shape, (row[0], column[0]), window.stride)
    return dx.transpose(0, 3, 1, 2)


def _phase(a, kernel, stride, before, pixels, outputs):
    """Along one axis, for the taps a, a + s, …: (their first pixel, the taps, the part of dy they read, its padding).

    Pixel s·P + a - before was met by tap a + s·k of output P - k.
    """
    taps, first = slice(a, None, stride), -((a - before) // stride)         # first P = ⌈(before - a) / s⌉
    start = stride * first + a - before
    count = len(range(start, pixels, stride))
    low, high = len(range(a, kernel, stride)) - 1 - first, first + count - outputs
    return start, taps, slice(max(0, -low), outputs - max(0, -high)), (max(0, low), max(0, high))


def _phase_gradient(dy, w, row, column):
    """The pixels of one phase, with channels-last strides; None where they met no tap."""
    part, w = dy[:, :, row[2], column[2]], w[:, :, row[1], column[1]]
    if not part.size or not w.size:
        return None
    window = Window.of(w.shape[2:], padding=(row[3], column[3]))
    return forward(part, w, np.zeros(w.shape[1], np.float32), window, flipped=True)


def filter_gradient(x, dy, shape, window, bend=None):
    """dW: wide 3x3 filters of stride 1 by Winograd, others as sums over pixels; ``bend`` as in ``forward``."""
    f, c, kh, kw = shape
    slides = few(window, c, f) and max(sum(window.padding, ())) <= 2
    x = x if slides else bent(x, bend)
    dy, dw = last(dy), empty((kh * kw, c, f))
    if window[:2] == ((3, 3), (1, 1)) and min(c, f) >= TRANSFORMED:
        _winograd_gradient(last(x), dy, window, dw)
    elif slides:
        _slide_gradient(last(x), dy, window, dw, bend)
    else:
        dw[...] = 0
        x, threads = _framed(x, dy.shape[1:3], window), get_num_threads()
        strides = tuple(x.strides[axis] for axis in (0, 3, 1, 2))
        pixel_gradient(x, strides, c, (kh, kw, *window.stride), dy, dy.shape, ZEROS, dw, threads)
    out = empty(shape)
    unpack_gradient(dw, (f, c, kh * kw), out)
    return out


def _slide_gradient(x, dy, window, dw, bend):
    sums, threads, line = empty((PARTS, *dw.shape)), get_num_threads(), along_a_row(bend, x.shape[2])
    sums[...] = 0
    rows, sides = min(SLIDING, x.shape[1]), (3, 3, 1, 1, 1, 1, 2 - window.padding[0][0], 2 - window.padding[1][0])
    size = band_bytes(rows, x.shape[2], dy.shape[3], sides) + (0 if bend is None else rows * x[0, 0].nbytes)
    work, strides = empty(threads * size, np.uint8), tuple(dy.strides[axis] for axis in (0, 3, 1, 2))
    slide_gradient(x, x.shape, dy, dy.shape, strides, sides, rows, line, sums, work, size)
    sums.sum(axis=0, out=dw)


def _framed(x, size, window):
    """What the ``size`` outputs see of the images and their padding, as (N, H, W, C)."""
    if not any(sum(window.padding, ())) and x.shape[1] % LANES == 0:
        return last(x)
    x = last(x) if x.shape[1] % LANES == 0 else np.ascontiguousarray(x).transpose(0, 2, 3, 1)
    sides = (*window.kernel, *window.stride, *window.dilation, window.padding[0][0], window.padding[1][0])
    framed = empty((len(x), *((o - 1) * s + k for o, s, k in zip(size, window.stride, window.kernel)), x.shape[3]))
    strides = tuple(x.strides[axis] for axis in (0, 3, 1, 2))
    frame_images(x, x.shape, strides, sides, framed, size)
    return framed


def _winograd_gradient(x, dy, window, dw):
    """dg = G' (Σ V' dM) G over groups of tiles."""
    c, f = x.shape[3], dy.shape[3]
    tiles = dy.shape[0] * -(-dy.shape[1] // 4) * -(-dy.shape[2] // 4)
    group = min(tiles, max(48, TILES_AT_ONCE // (36 * 4 * (c + f))))
    v, dm = (empty(36 * (group * k + 16)) for k in (c, f))
    du, padding = empty((36, c, f)), (window.padding[0][0], window.padding[1][0])
    for first in range(0, tiles, group):
        winograd_gradient(x, x.shape, padding, dy, dy.shape, first, min(group, tiles - first), v, dm, du, ZEROS)
    untransform_gradient(du, f, c, dw)
