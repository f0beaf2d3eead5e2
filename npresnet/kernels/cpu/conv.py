"""conv2d and its pullback through the kernels here, channels last in memory."""

import numpy as np
from numba import get_num_threads

from ...ops.conv import conv2d
from ...ops.window import Window, frame
from .band import band_bytes, convolve
from .choose import band_cut, rows_cut, winograd_cut
from .gradient import filter_gradient, winograd_gradient
from .memory import empty, zeros
from .pack import GAP, LANES, panels
from .product import product
from .repack import pack_filters, transform_filters, unpack_gradient, untransform_gradient
from .winograd import winograd, winograd_bytes

NO_FLOOR = float("-inf")
TRANSFORMED = 4 * LANES          # channels from which F(2x2, 3x3) pays for its transforms
TILES_AT_ONCE = 16 * 2**20       # bytes of transformed tiles in memory while filters get their gradient
_zeros = np.zeros(16384, np.float32)


@conv2d.register("numba")
def conv2d_numba(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Equals :func:`npresnet.ops.conv2d`: 1x1 as one product, wide 3x3 by Winograd's F(2x2, 3x3), others direct.

    F(2x2, 3x3) rounds less than the direct sum, which has nine times its terms.  F(4x4, 3x3), ten times coarser, would
    carry more values across the kinks of ReLU and training away from PyTorch's: it serves the engine, and dW.

    The result has channels-last strides.  Where vectors of channels cannot be filled, the reference runs.

    Saves: x, w.
    """
    if not _fits(x, w, b, groups, dilation):
        return conv2d.reference(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    window, biased = Window.of(w.shape[2:], stride, padding, dilation), b is not None
    y = _forward(x, w, np.zeros(len(w), np.float32) if b is None else np.ascontiguousarray(b), window)

    def pullback(dy, skip=()):
        dx = None if "x" in skip else _image_gradient(dy, w, x, window)
        dw = None if "w" in skip else _filter_gradient(x, dy, w.shape, window)
        db = dy.sum(axis=(0, 2, 3)) if biased and "b" not in skip else None
        return dx, dw, db

    return y, pullback


def _fits(x, w, b, groups, dilation) -> bool:
    """A batch in float32, whole vectors of filters and (but for a picture's few) of channels, one group, no holes."""
    arrays = [a for a in (x, w, b) if a is not None]
    if any(not isinstance(a, np.ndarray) or a.dtype != np.float32 for a in arrays) or x.ndim != 4 or w.ndim != 4:
        return False
    shapes = x.shape[1] == w.shape[1] and (b is None or b.shape == w.shape[:1]) and min(x.shape) > 0
    whole = len(w) % LANES == 0 and (x.shape[1] % LANES == 0 or x.shape[1] <= 4)
    return shapes and len(x) > 1 and whole and groups == 1 and dilation in (1, (1, 1)) and max(w.shape[:2]) <= 8192


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
        pack_filters(w.ctypes.data + 4 * (taps - 1), (c, f, taps), (taps, c * taps, -1), packed.ctypes.data)
    else:
        pack_filters(w.ctypes.data, (f, c, taps), (c * taps, taps, 1), packed.ctypes.data)
    return packed


def _forward(x, w, bias, window, flipped=False):
    """The convolution as (N, F, oh, ow) with channels-last strides."""
    n, c, h, width = x.shape
    f, (oh, ow), threads = w.shape[1] if flipped else w.shape[0], window.output_size(x.shape[2:]), get_num_threads()
    y, packed = empty((n, oh, ow, f)), _packed(w, flipped)
    sides = (*window.kernel, *window.stride, *window.dilation, window.padding[0][0], window.padding[1][0])
    at, band = (bias.ctypes.data, y.ctypes.data, y.shape, 0, NO_FLOOR), band_cut(n, oh, ow, w.size // f, f, threads)
    tiles = winograd_cut(2, n * -(-oh // 2) * -(-ow // 2), c, f, threads)
    if window.kernel == (1, 1) and c % LANES == 0 and not any(sum(window.padding, ())):
        x, cut = last(x), rows_cut(n * oh * ow, c, f, threads)
        product(x.ctypes.data, x.shape, window.stride, packed.ctypes.data, *at, cut.block, cut.splits)
    elif window[:2] == ((3, 3), (1, 1)) and min(c, f) >= TRANSFORMED and tiles.cost < band.cost:
        _winograd(last(x), packed, at, window, tiles, threads)
    else:
        x = last(x) if c % LANES == 0 else np.ascontiguousarray(x)
        strides = [x.strides[k] for k in ((0, 3, 1, 2) if c % LANES == 0 else range(4))]
        size = band_bytes(band.block, ow, c, sides)
        work = empty(threads * size, np.uint8)
        convolve(x.ctypes.data, (n, h, width, c), tuple(strides), sides, 1, packed.ctypes.data, *at, band.block,
                 band.splits, work.ctypes.data, size)
    return y.transpose(0, 3, 1, 2)


def _winograd(x, packed, at, window, cut, threads):
    """F(2x2, 3x3) with filters that have just changed."""
    c, f, size = x.shape[3], at[2][3], winograd_bytes(2, cut.block, x.shape[3])
    u, work = empty(16 * (f * c + GAP * len(list(panels(f))))), empty(threads * size, np.uint8)
    transform_filters(packed.ctypes.data, f, c, u.ctypes.data)
    winograd(2, x.ctypes.data, x.shape, (window.padding[0][0], window.padding[1][0]), u.ctypes.data, *at, cut.block,
             cut.splits, work.ctypes.data, size, _zeros.ctypes.data)


def _image_gradient(dy, w, x, window):
    """dX: the convolution of dY, spread out by the stride, with the flipped filters; a picture's by the reference."""
    if x.shape[1] % LANES:
        _, pullback = conv2d.reference(x, w, stride=window.stride, padding=window.padding)
        return pullback(dy, skip={"w", "b"})[0]
    (kh, kw), (h, width) = window.kernel, x.shape[2:]
    bias = np.zeros(w.shape[1], np.float32)
    if window.kernel == (1, 1) and not any(sum(window.padding, ())):
        dx = _forward(dy, w, bias, Window.of(1), flipped=True)
        return dx if window.stride == (1, 1) else _spread(dx, window.stride, (h, width))
    (top, bottom), (left, right) = window.padding
    tall, wide = h + top + bottom - kh + 1, width + left + right - kw + 1      # outputs, had the stride been 1
    if window.stride != (1, 1):
        dy = _spread(dy, window.stride, (tall, wide))
    if min(kh - 1 - top, kw - 1 - left, kh - 1 - bottom, kw - 1 - right) < 0:
        whole = _forward(dy, w, bias, Window.of((kh, kw), padding=(kh - 1, kw - 1)), flipped=True)
        return whole[:, :, top:top + h, left:left + width]
    padding = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    return _forward(dy, w, bias, Window.of((kh, kw), padding=padding), flipped=True)


def _spread(dy, stride, size):
    """Zeros between the pixels: the transpose of leaving pixels out.  Channels-last strides."""
    n, f = dy.shape[:2]
    spread = zeros((n, *size, f))
    spread[:, ::stride[0], ::stride[1]][:, :dy.shape[2], :dy.shape[3]] = dy.transpose(0, 2, 3, 1)
    return spread.transpose(0, 3, 1, 2)


def _filter_gradient(x, dy, shape, window):
    f, c, kh, kw = shape
    dy, taps = last(dy), kh * kw
    dw = zeros((taps, c, f))
    if window.kernel == (3, 3) and window.stride == (1, 1) and c % LANES == 0:
        _winograd_gradient(last(x), dy, window, dw)
    else:
        x = frame(x, window.padding) if any(sum(window.padding, ())) else x
        x = last(x) if c % LANES == 0 else np.ascontiguousarray(x)
        strides = tuple(x.strides[k] for k in ((0, 3, 1, 2) if c % LANES == 0 else range(4)))
        threads = get_num_threads()
        filter_gradient(x.ctypes.data, strides, c, (kh, kw, *window.stride), dy.ctypes.data, dy.shape,
                        _zeros.ctypes.data, dw.ctypes.data, threads)
    out = empty(shape)
    unpack_gradient(dw.ctypes.data, (f, c, taps), out.ctypes.data)
    return out


def _winograd_gradient(x, dy, window, dw):
    """dg = G' (Σ V' dM) G over groups of tiles."""
    c, f = x.shape[3], dy.shape[3]
    tiles = dy.shape[0] * -(-dy.shape[1] // 4) * -(-dy.shape[2] // 4)
    group = min(tiles, max(48, TILES_AT_ONCE // (36 * 4 * (c + f))))
    v, dm = (empty(36 * (group * k + 16)) for k in (c, f))
    du, padding = zeros((36, c, f)), (window.padding[0][0], window.padding[1][0])
    for first in range(0, tiles, group):
        winograd_gradient(x.ctypes.data, x.shape, padding, dy.ctypes.data, dy.shape, first, min(group, tiles - first),
                          v.ctypes.data, dm.ctypes.data, du.ctypes.data, _zeros.ctypes.data)
    untransform_gradient(du.ctypes.data, f, c, dw.ctypes.data)
