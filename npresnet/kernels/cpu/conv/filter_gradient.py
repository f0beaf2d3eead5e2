"""The gradient of a convolution's filters, channels last: sums over pixels, or over Winograd tiles.

    dw[t, c, f] = Σ_{n,p,q} x[n, s·p + i, s·q + j, c] · dy[n, p, q, f]            t = (i, j), x with its padding

Equals dW = dY X~' in :func:`npresnet.ops.conv2d`, and dg = G' dU G in :func:`npresnet.ops.winograd.winograd_conv2d`.
The register tile is the forward product's; only its rows are channels now, and what it sums over are pixels.
"""

import numpy as np
from numba import njit, prange

from ....ops.winograd import F
from ..codegen.jit import parallel
from ..codegen.tile import NONE, ROWS, multiply_strided, panel_width
from ..codegen.transform import make_gather
from ..codegen.vector import LANES, address, hold
from .band import band_rows, copy_band, row_floats

_transform_x, _transform_dy = make_gather(F[4].bt), make_gather(np.ascontiguousarray(F[4].at.T))
PIXELS = 192           # summed over at a time: rows of x and dy that stay in the cache


@parallel
def pad_images(x, shape, strides, window, padded, size):
    """Images with zeros around them, channels last: all that ``size`` = (oh, ow) outputs see."""
    image_bytes = band_rows(size[0], window) * row_floats(size[1], shape[3], window) * 4
    for image in prange(shape[0]):
        copy_band(x + image * strides[0], shape, strides, window, 0, size[0], size[1], padded + image * image_bytes)


@parallel
def pixel_gradient(x, strides, channels, window, dy, shape, zeros, dw, shares):
    """Add to ``dw`` (taps, c, f) the gradient for ``shape`` = (n, oh, ow, f) outputs at ``dy``.

    ``x`` is the padded image with byte ``strides`` (image, channel, row, column); ``window`` = (kh, kw, stride h, w).
    The rows (t, c) of dw are cut into ``shares``, so that no two threads write to the same.
    """
    rows = window[0] * window[1] * channels
    share = (rows + shares - 1) // shares
    for item in prange(shares):
        first = item * share
        if first < rows:
            _gradient_rows(x, strides, channels, window, dy, shape, zeros, dw, first, min(share, rows - first))


@njit
def _gradient_rows(x, strides, channels, window, dy, shape, zeros, dw, first, count):
    (n, oh, ow, f), (_, kw, sh, sw), (image, channel, line, pixel) = shape, window, strides
    lines = max(1, PIXELS // ow)                              # rows of outputs at a time
    rows, outs, taps = np.empty(count + ROWS, np.int64), np.empty(count + ROWS, np.int64), np.empty(lines, np.int64)
    for r in range(count + ROWS):
        row = first + min(r, count - 1)
        t, c = row // channels, row % channels
        rows[r] = x + c * channel + t // kw * line + t % kw * pixel
        outs[r] = dw + row * f * 4
    for start in range(0, n * oh, lines):
        here = min(lines, n * oh - start)
        for k in range(here):
            taps[k] = (start + k) // oh * image + (start + k) % oh * sh * line
        column = 0
        while column < f:
            width = panel_width(f - column)
            multiply_strided(rows, count, taps[:here], ow, sw * pixel, dy + (start * ow * f + column) * 4, f * 4,
                             width, zeros, outs, column * 4, 0, np.float32(-np.inf))
            column += width


@parallel
def winograd_gradient(x, shape, padding, dy, out_shape, first, n, v, dm, du, zeros):
    """Add to ``du`` (36, c, f), or begin it with, the sum over tiles first .. first + n of V' dM.

    ``v`` and ``dm`` have room for the n tiles.
    """
    th, tw, c, f = (out_shape[1] + 3) // 4, (out_shape[2] + 3) // 4, shape[3], out_shape[3]
    v_step, m_step = n * c * 4 + 64, n * f * 4 + 64
    for b in prange(n):
        _transform_tile(x, shape, padding, dy, out_shape, first + b, th, tw, v + b * c * 4, v_step, dm + b * f * 4,
                        m_step, zeros)
    for e in prange(36):
        _add_product(v + e * v_step, n, c, dm + e * m_step, f, du + e * c * f * 4, NONE if first == 0 else 0, zeros)


@njit
def _transform_tile(x, shape, padding, dy, out_shape, number, th, tw, v, v_step, dm, m_step, zeros):
    """V = B' d B and dM = A dY A' of one tile."""
    places = np.empty(36, np.int64)
    at = address(places)
    image, i, j = number // (th * tw), number // tw % th, number % tw
    for e in range(36):
        r, s = i * 4 - padding[0] + e // 6, j * 4 - padding[1] + e % 6
        inside = 0 <= r < shape[1] and 0 <= s < shape[2]
        places[e] = x + ((image * shape[1] + r) * shape[2] + s) * shape[3] * 4 if inside else zeros
    for k in range(0, shape[3] * 4, LANES * 4):
        _transform_x(at, k, v + k, v_step)
    for e in range(16):
        p, q = i * 4 + e // 4, j * 4 + e % 4
        inside = p < out_shape[1] and q < out_shape[2]
        places[e] = dy + ((image * out_shape[1] + p) * out_shape[2] + q) * out_shape[3] * 4 if inside else zeros
    for k in range(0, out_shape[3] * 4, LANES * 4):
        _transform_dy(at, k, dm + k, m_step)
    hold(places)


@njit
def _add_product(a, n, c, b, f, out, before, zeros):
    """out (c, f) = a' b for a (n, c) and b (n, f), added to what was there if ``before`` is 0 and not NONE."""
    rows, outs, taps, column = np.empty(c + ROWS, np.int64), np.empty(c + ROWS, np.int64), np.zeros(1, np.int64), 0
    for r in range(c + ROWS):
        rows[r], outs[r] = a + min(r, c - 1) * 4, out + min(r, c - 1) * f * 4
    while column < f:
        width = panel_width(f - column)
        multiply_strided(rows, c, taps, n, c * 4, b + column * 4, f * 4, width, zeros, outs, column * 4, before,
                         np.float32(-np.inf))
        column += width
