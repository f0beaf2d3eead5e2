"""max_pool2d and its pullback, channels last."""

import numpy as np
from numba import njit, prange

from ...ops.pool import max_pool2d
from ...ops.window import Window
from .compiled import parallel
from .conv import last
from .vector import floats


@max_pool2d.register("numba")
def max_pool2d_numba(x, kernel, *, stride, padding=0, dilation=1, ceil_mode=False):
    """Equals :func:`npresnet.ops.max_pool2d`; the gradient is gathered by each pixel from the windows that it won.

    Saves: winner.
    """
    window = Window.of(kernel, stride, padding, dilation)
    halves = all(2 * max(p) <= k for k, p in zip(window.kernel, window.padding))
    whole = window.dilation == (1, 1) and not ceil_mode and halves and window.kernel[0] * window.kernel[1] < 256
    if not (whole and isinstance(x, np.ndarray) and x.dtype == np.float32 and x.ndim == 4 and len(x) > 1 and x.size):
        return max_pool2d.reference(x, kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    size, shape = window.output_size(x.shape[2:]), (len(x), *x.shape[2:], x.shape[1])
    sides = (*window.kernel, *window.stride, window.padding[0][0], window.padding[1][0])
    x = last(x)
    y, winner = np.empty((shape[0], *size, shape[3]), np.float32), np.empty((shape[0], *size, shape[3]), np.uint8)
    _pool(x.ctypes.data, shape, sides, y.ctypes.data, winner)
    del x

    def pullback(dy):
        dx, dy = np.empty(shape, np.float32), last(dy)
        _unpool(dy.ctypes.data, winner, shape, sides, dx.ctypes.data)
        return dx.transpose(0, 3, 1, 2)

    return y.transpose(0, 3, 1, 2), pullback


@parallel
def _pool(x, shape, sides, y, winner):
    for row in prange(winner.shape[0] * winner.shape[1]):
        _pool_row(x, shape, sides, y, winner, row // winner.shape[1], row % winner.shape[1])


@njit
def _pool_row(x, shape, sides, y, winner, image, p):
    h, w, c = shape[1], shape[2], shape[3]
    kh, kw, sh, sw, top, left = sides
    for q in range(winner.shape[2]):
        out = floats(y + ((image * winner.shape[1] + p) * winner.shape[2] + q) * c * 4, c)
        out[:], best = np.float32(-np.inf), winner[image, p, q]
        best[:] = 0
        for r in range(max(0, p * sh - top), min(h, p * sh - top + kh)):
            for s in range(max(0, q * sw - left), min(w, q * sw - left + kw)):
                tap = np.uint8((r - p * sh + top) * kw + s - q * sw + left)
                _take(floats(x + ((image * h + r) * w + s) * c * 4, c), out, best, tap)


@njit
def _take(values, out, best, tap):
    for k in range(len(out)):
        v = values[k]
        better = v > out[k] or v != v                        # only NaN differs from itself
        out[k] = v if better else out[k]
        best[k] = tap if better else best[k]


@parallel
def _unpool(dy, winner, shape, sides, dx):
    for row in prange(shape[0] * shape[1]):
        _unpool_row(dy, winner, shape, sides, dx, row // shape[1], row % shape[1])


@njit
def _unpool_row(dy, winner, shape, sides, dx, image, r):
    w, c = shape[2], shape[3]
    oh, ow = winner.shape[1], winner.shape[2]
    kh, kw, sh, sw, top, left = sides
    for s in range(w):
        out = floats(dx + ((image * shape[1] + r) * w + s) * c * 4, c)
        out[:] = 0
        for p in range(max(0, (r + top - kh) // sh + 1), min(oh, (r + top) // sh + 1)):
            for q in range(max(0, (s + left - kw) // sw + 1), min(ow, (s + left) // sw + 1)):
                tap = np.uint8((r + top - p * sh) * kw + s + left - q * sw)
                _receive(floats(dy + ((image * oh + p) * ow + q) * c * 4, c), winner[image, p, q], tap, out)


@njit
def _receive(dy, best, tap, out):
    for k in range(len(out)):
        g = dy[k]                                            # read in any case: a choice of two values vectorizes
        out[k] += g if best[k] == tap else np.float32(0)
