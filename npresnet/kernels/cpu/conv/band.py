"""Convolutions with any window, stride, dilation and groups, over bands of output rows.

    y[p, q, f] = max(floor, Σ_{i,j,c} x[s·p + d·i - pad, s·q + d·j - pad, c] · w[i, j, c, f] + bias[f] + r[p, q, f])

Equals :func:`npresnet.ops.conv2d`, channels last, with a residual r.  A work item copies the rows its band sees into a
padded scratch image small enough for the cache; there every receptive field is a few straight runs of floats (one for
each kernel row, or for each tap where dilation or groups break the row), so no columns are built.  A band may also be
max-pooled while it is in the cache, as the stem of an ImageNet net is.
"""

from collections.abc import Callable

import numpy as np

from ....ops.window import Window
from ..codegen.jit import floor_of, inlined, subroutine
from ..codegen.lines import affine as _affine
from ..codegen.tile import NONE, ROWS, multiply_strided, panel_width
from ..codegen.vector import copy, fill, floats
from ..pool import pool_rows
from ..program.entry_point import Address, Pair, Shape, Shared, Sides, Strides, entry_point


@entry_point
def convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, groups: int, w: Shared,
                bias: Shared, y: Address, out_shape: Shape, residual: Address, relu: bool, rows: int, splits: int):
    """One share of the panels, of ``splits``, for a band of ``rows`` output rows of one image.

    ``shape`` = (n, h, w, c) with byte ``strides``; ``window`` = (kh, kw, stride h, w, dilation h, w, pad top, left).
    A thread needs :func:`band_bytes`.
    """
    _share(item, work, x, shape, strides, window, groups, 0, w, bias, y, out_shape, residual, floor_of(relu), rows,
           splits)


@entry_point
def pooled_convolution(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, w: Shared,
                       bias: Shared, middle: Pair, relu: bool, pool: Sides, y: Address, out_shape: Shape, rows: int):
    """A band, then a max-pool with window ``pool``; ``middle`` = (h, w) of the image between them.

    Each band of ``rows`` pooled rows computes the convolution rows it needs, a few of them twice.  A thread needs
    :func:`pooled_band_bytes`.
    """
    _pooled(item, work, x, shape, strides, window, 0, w, bias, middle, floor_of(relu), pool, y, out_shape, rows)


@inlined
def row_floats(ow, c, window):
    """Floats in one row of the scratch image: all that ``ow`` outputs see."""
    _, kw, _, sw, _, dw, _, _ = window
    return ((ow - 1) * sw + (kw - 1) * dw + 1) * c


@inlined
def band_rows(count, window):
    """Input rows that ``count`` output rows see."""
    kh, _, sh, _, dh, _, _, _ = window
    return (count - 1) * sh + (kh - 1) * dh + 1


@subroutine
def copy_band(x, shape, strides, window, p, count, ow, scratch, prologue=0, outside=0):
    """Rows of one image as a channels-last image whose first output row is ``p``; outside it every byte is ``outside``.

    With ``prologue`` they are max(floor, scale·x + shift): the address of those three, each as long as a row of x,
    which then is channels last.
    """
    (_, h, w, c), (_, channel, line, pixel), (_, _, sh, _, _, _, top, left) = shape, strides, window
    first, width = p * sh - top, row_floats(ow, c, window)
    left = min(left, width // c)
    inside = min(w, width // c - left)
    for r in range(band_rows(count, window)):
        row = scratch + r * width * 4
        if not 0 <= first + r < h:
            fill(row, width, outside)
            continue
        fill(row, left * c, outside)
        fill(row + (left + inside) * c * 4, width - (left + inside) * c, outside)
        source, pixels = x + (first + r) * line, row + left * c * 4
        if prologue != 0:
            _affine(inside * c, (source, prologue, prologue + w * c * 4, prologue + 2 * w * c * 4, pixels))
            continue
        if channel == 4 and pixel == 4 * c:
            copy(source, pixels, inside * c)
            continue
        pixels = floats(pixels, inside * c)
        for k in range(c):
            values = floats(source + k * channel, inside * pixel // 4)
            for q in range(inside):
                pixels[q * c + k] = values[q * pixel // 4]


def make_band(multiply: Callable[..., None], nbytes: int, each: int) -> Callable[..., None]:
    """The product over a band that lies in scratch, by this :func:`~..codegen.tile.multiply`.

    Its results have ``nbytes`` bytes each, and what a filter adds to its sums has ``each``.
    """

    @inlined
    def band(scratch, shape, window, groups, w, bias, y, count, ow, f, delta, last, split, splits):
        (kh, kw, sh, sw, dh, dw, _, _), c, width = window, shape[3], row_floats(ow, shape[3], window)
        straight = groups == 1 and dw == 1                       # the taps of a kernel row lie side by side
        depth = kw * c if straight else c // groups
        taps, pixels = np.empty(kh if straight else kh * kw, np.int64), count * ow
        rows, outs = np.empty(pixels + ROWS, np.int64), np.empty(pixels + ROWS, np.int64)
        for r in range(pixels + ROWS):
            m = min(r, pixels - 1)
            rows[r] = scratch + (m // ow * sh * width + m % ow * sw * c) * 4
            outs[r] = y + m * f * nbytes
        column, index = 0, 0
        while column < f:
            group = column // (f // groups)
            columns = panel_width((group + 1) * (f // groups) - column)
            if index % splits == split:
                for t in range(len(taps)):
                    i, j = (t, 0) if straight else (t // kw, t % kw)
                    taps[t] = (i * dh * width + j * dw * c + group * (c // groups)) * 4
                multiply(rows, pixels, taps, depth, 4, w + column * len(taps) * depth * 4, columns * 4, columns,
                         bias + column * each, outs, column * nbytes, delta, last)
            column, index = column + columns, index + 1

    return band


def make_share(band: Callable[..., None], nbytes: int) -> Callable[..., None]:
    """The body of :data:`convolution`, by such a band, whose ``last`` it is; bytes outside an image are ``outside``."""

    @inlined
    def share(item, work, x, shape, strides, window, groups, outside, w, bias, y, out_shape, residual, last, rows,
              splits):
        _, oh, ow, f = out_shape
        bands, delta = (oh + rows - 1) // rows, residual - y if residual != 0 else NONE
        image, p = item // (bands * splits), item // splits % bands * rows
        count = min(rows, oh - p)
        copy_band(x + image * strides[0], shape, strides, window, p, count, ow, work, 0, outside)
        band(work, shape, window, groups, w, bias, y + (image * oh + p) * ow * f * nbytes, count, ow, f, delta, last,
             item % splits, splits)

    return share


def make_pooled(band: Callable[..., None], pool: Callable[..., None], nbytes: int) -> Callable[..., None]:
    """The body of :data:`pooled_convolution`, by such a band and such a :func:`~..pool.pool_rows`."""

    @inlined
    def pooled(item, work, x, shape, strides, window, outside, w, bias, middle, last, pooling, y, out_shape, rows):
        (_, oh, ow, f), (h, wide), (kh, _, sh, _, dh, _, top, _) = out_shape, middle, pooling
        bands = (oh + rows - 1) // rows
        image, p = item // bands, item % bands * rows
        count, first = min(rows, oh - p), max(0, p * sh - top)
        stop = min(h, (p + count - 1) * sh - top + (kh - 1) * dh + 1)
        half = work + band_rows(band_rows(rows, pooling), window) * row_floats(wide, shape[3], window) * 4
        copy_band(x + image * strides[0], shape, strides, window, first, stop - first, wide, work, 0, outside)
        band(work, shape, window, 1, w, bias, half, stop - first, wide, f, NONE, last, 0, 1)
        pool(half - first * wide * f * nbytes, h, wide, f, pooling, y + image * oh * ow * f * nbytes, ow, p, p + count)

    return pooled


_band = make_band(multiply_strided, 4, 4)
_share, _pooled = make_share(_band, 4), make_pooled(_band, pool_rows, 4)


def window_numbers(window: Window) -> tuple[int, int, int, int, int, int, int, int]:
    """A window as the kernels take it: (kh, kw, stride h, w, dilation h, w, pad top, left)."""
    return (*window.kernel, *window.stride, *window.dilation, *top_left(window))


def top_left(window: Window) -> tuple[int, int]:
    """The padding at the top and on the left."""
    (top, _), (left, _) = window.padding
    return top, left


def band_bytes(rows: int, ow: int, channels: int, window: tuple[int, ...]) -> int:
    """Workspace of one thread for :data:`convolution`."""
    return band_rows.py_func(rows, window) * row_floats.py_func(ow, channels, window) * 4


def pooled_band_bytes(rows: int, middle_width: int, channels: int, features: int, window: tuple[int, ...],
                      pool: tuple[int, ...]) -> int:
    """Workspace of one thread for :data:`pooled_convolution`."""
    middle_rows = band_rows.py_func(rows, pool)
    return band_bytes(middle_rows, middle_width, channels, window) + middle_rows * middle_width * features * 4
