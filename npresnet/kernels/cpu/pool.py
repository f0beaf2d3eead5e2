"""Pooling, channels last.  Equal to :func:`npresnet.ops.max_pool2d` and :func:`npresnet.ops.global_avg_pool2d`."""

import numpy as np
from numba import njit, prange

from .compiled import parallel
from .vector import floats


@parallel
def max_pool(x, shape, window, y, out_shape):
    """The largest value of each window; ``window`` = (kh, kw, stride h, w, dilation h, w, pad top, left)."""
    n, h, w, c = shape
    oh, ow = out_shape[1], out_shape[2]
    for row in prange(n * oh):
        image, p = row // oh, row % oh
        pool_rows(x + image * h * w * c * 4, h, w, c, window, y + image * oh * ow * c * 4, ow, p, p + 1)


@njit
def pool_rows(x, h, w, c, window, y, ow, first, last):
    """Output rows [first, last) of one image at ``x``, written into one at ``y``; what lies outside never wins."""
    kh, kw, sh, sw, dh, dw, top, left = window
    for p in range(first, last):
        for q in range(ow):
            out = floats(y + (p * ow + q) * c * 4, c)
            out[:] = np.float32(-np.inf)
            for i in range(kh):
                r = p * sh + i * dh - top
                if 0 <= r < h:
                    for j in range(kw):
                        s = q * sw + j * dw - left
                        if 0 <= s < w:
                            _take_larger(out, floats(x + (r * w + s) * c * 4, c))


@njit
def _take_larger(out, values):
    for k in range(len(out)):
        v = values[k]
        out[k] = v if v > out[k] or v != v else out[k]      # a NaN wins, as in NumPy


@parallel
def global_mean(x, shape, y):
    """y[n, c] = mean over all pixels."""
    pixels, c = shape[1] * shape[2], shape[3]
    for image in prange(shape[0]):
        _mean(x + image * pixels * c * 4, pixels, c, floats(y + image * c * 4, c))


@njit
def _mean(x, pixels, c, out):
    out[:] = 0
    for pixel in range(pixels):
        values = floats(x + pixel * c * 4, c)
        for k in range(c):
            out[k] += values[k]
    for k in range(c):
        out[k] /= pixels
