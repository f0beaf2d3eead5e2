"""The gradient of a convolution's filters, channels last: sums over pixels, or over Winograd tiles.

    dw[t, c, f] = Σ_{n,p,q} x[n, s·p + i, s·q + j, c] · dy[n, p, q, f]            t = (i, j), x with its padding

Equals dW = dY X~' in :func:`npresnet.ops.conv2d`, and dg = G' dU G in :func:`npresnet.ops.winograd.winograd_conv2d`.
The register tile is the forward product's; only its rows are channels now, and what it sums over are pixels.
"""

import numpy as np

from ....ops.winograd import F
from ..codegen.jit import inlined
from ..codegen.tile import NONE, ROWS, multiply_strided, panel_width
from ..codegen.transform import make_gather
from ..codegen.vector import LANES, address, hold
from ..program.entry_point import Address, Pair, Shape, Sides, Strides, entry_point
from .band import band_rows, copy_band, row_floats

_transform_x, _transform_dy = make_gather(F[4].bt), make_gather(np.ascontiguousarray(F[4].at.T))
PIXELS = 96            # summed over at a time: rows of x and dy that stay in the first cache


@entry_point
def pad_images(image, work, x: Address, shape: Shape, strides: Strides, window: Sides, padded: Address, size: Pair):
    """An image with zeros around it, channels last: all that ``size`` = (oh, ow) outputs see."""
    image_bytes = band_rows(size[0], window) * row_floats(size[1], shape[3], window) * 4
    copy_band(x + image * strides[0], shape, strides, window, 0, size[0], size[1], padded + image * image_bytes)


@entry_point
def pixel_gradient(item, work, x: Address, strides: Strides, channels: int, window: Shape, dy: Address, shape: Shape,
                   groups: int, zeros: Address, dw: Address, shares: int):
    """``dw`` (groups, taps, c, f), the gradient for ``shape`` = (n, oh, ow, F) outputs at ``dy``.

    ``x`` is the padded image with byte ``strides`` (image, channel, row, column), of ``channels`` in each group;
    ``window`` = (kh, kw, stride h, w).  The rows (t, c) of each group are cut into ``shares``: no two items write to
    the same.
    """
    rows, f, group = window[0] * window[1] * channels, shape[3] // groups, item // shares
    share = (rows + shares - 1) // shares
    first = item % shares * share
    if first < rows:
        _gradient_rows(x + group * channels * strides[1], strides, channels, window, dy + group * f * 4, shape, f,
                       zeros, dw + group * rows * f * 4, first, min(share, rows - first))


@inlined
def _gradient_rows(x, strides, channels, window, dy, shape, f, zeros, dw, first, count):
    (n, oh, ow, all_f), (_, kw, sh, sw), (image, channel, line, pixel) = shape, window, strides
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
            multiply_strided(rows, count, taps[:here], ow, sw * pixel, dy + (start * ow * all_f + column) * 4,
                             all_f * 4, width, zeros, outs, column * 4, NONE if start == 0 else 0, np.float32(-np.inf))
            column += width


@entry_point
def transform_tiles(item, work, x: Address, shape: Shape, padding: Pair, dy: Address, out_shape: Shape, first: int,
                    n: int, v: Address, dm: Address, zeros: Address):
    """V = B' d B and dM = A dY A' of tile ``first`` + item, of n tiles; ``v`` and ``dm`` have room for them."""
    th, tw, c, f = (out_shape[1] + 3) // 4, (out_shape[2] + 3) // 4, shape[3], out_shape[3]
    _transform_tile(x, shape, padding, dy, out_shape, first + item, th, tw, v + item * c * 4, n * c * 4 + 64,
                    dm + item * f * 4, n * f * 4 + 64, zeros)


@entry_point
def add_products(item, work, v: Address, c: int, dm: Address, f: int, n: int, du: Address, begin: bool,
                 zeros: Address):
    """Add to du[item], of (36, c, f), or begin it with, the sum V' dM over n tiles."""
    _add_product(v + item * (n * c * 4 + 64), n, c, dm + item * (n * f * 4 + 64), f, du + item * c * f * 4,
                 NONE if begin else 0, zeros)


@inlined
def _transform_tile(x, shape, padding, dy, out_shape, number, th, tw, v, v_step, dm, m_step, zeros):
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


@inlined
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
