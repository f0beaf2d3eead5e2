"""Pooling, channels last.  Equal to :func:`npresnet.ops.max_pool2d` and :func:`npresnet.ops.global_avg_pool2d`."""

import numpy as np
from numba import njit

from .codegen.vector import floats


@njit
def pool_rows(x, h, w, c, window, y, ow, first, last):
    """The largest value of each window, for output rows [first, last) of one image at ``x``, written into one at ``y``.

    ``window`` = (kh, kw, stride h, w, dilation h, w, pad top, left); what lies outside the image never wins.
    """
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


@njit
def mean(x, pixels, c, out):
    """out[c] = mean over all pixels of the image at ``x``."""
    out[:] = 0
    for pixel in range(pixels):
        values = floats(x + pixel * c * 4, c)
        for k in range(c):
            out[k] += values[k]
    for k in range(c):
        out[k] /= pixels
