"""The gradient of few 3x3 filters of stride 1, channels last.

    dw[i, j, c, :] = Σ_{n,r,s} x[n, r, s, c] · dy[n, r - i + top, s - j + left, :]

Equals dW = dY X~' in :func:`npresnet.ops.conv2d`, by pixels of x instead of columns: each value of x is multiplied
by nine vectors of dy, zero around the image, and the nine sums of one or two channels stay in registers.
"""

from collections.abc import Callable

from numba import types
from numba.core import cgutils

from ..codegen.jit import inlined, intrinsic
from ..codegen.vector import F32, I64, LANES, Emit, clear, floats, prefetch
from ..pointwise import accumulate
from ..program.chains import images_of
from ..program.entry_point import Address, Shape, Shared, Sides, Strides, entry_point
from .band import band_rows, copy_band, row_floats

CHANNELS = 1 if LANES == 8 else 2     # whose sums fit the registers together
PIXEL = (1, 1, 1, 1, 1, 1, 0, 0)      # the window that sees one
TILE = 96                             # pixels of x and dy that stay in the first cache, however often they are read
TAPS = [(i, j) for i in range(3) for j in range(3)]


def make_sums(filters: int) -> Callable[..., None]:
    """An intrinsic that adds the sums over ``rows`` x ``width`` pixels to ``out``; ``filters`` are those of dy."""

    @intrinsic
    def sums(context, x, channels, dy, rows, width, out):
        def codegen(context, builder, signature, args):
            x, channels, dy, rows, width, out = args
            e, pixel = Emit(builder), builder.mul(channels, I64(4))
            acc = [[cgutils.alloca_once_value(builder, e.constant(0)) for _ in TAPS] for _ in range(CHANNELS)]
            dy_row = builder.mul(builder.add(width, I64(2)), I64(4 * filters))
            with cgutils.for_range(builder, rows) as r:
                lines = [builder.add(dy, builder.mul(builder.add(r.index, I64(2 - i)), dy_row)) for i in range(3)]
                start = builder.add(x, builder.mul(builder.mul(r.index, width), pixel))
                with cgutils.for_range(builder, width) as s:
                    offset = builder.mul(s.index, I64(4 * filters))
                    vectors = [e.load(builder.add(lines[i], offset), 4 * filters * (2 - j)) for i, j in TAPS]
                    here = builder.add(start, builder.mul(s.index, pixel))
                    for c, line in enumerate(acc):
                        value = e.splat(builder.load(e.at(e.add(here, 4 * c), F32)))
                        for total, vector in zip(line, vectors):
                            builder.store(e.fma(value, vector, builder.load(total)), total)
            for c, line in enumerate(acc):
                for t, total in enumerate(line):
                    row = builder.add(builder.mul(channels, I64(t)), I64(c))
                    at = builder.add(out, builder.mul(row, I64(4 * filters)))
                    e.store(builder.fadd(e.load(at), builder.load(total)), at)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return sums


_narrow, _wide = make_sums(LANES), make_sums(2 * LANES)


@entry_point
def slide_gradient(part, work, x: Address, shape: Shape, dy: Address, out_shape: Shape, strides: Strides,
                   window: Sides, rows: int, prologue: Shared, sums: Address):
    """In ``sums`` (parts, 9, c, f) the gradient of a part of the images, for x (n, h, w, c) and dy (n, oh, ow, f).

    ``window`` = (3, 3, 1, 1, 1, 1, 2 - top, 2 - left) with the padding of the convolution; ``strides`` are dy's, as
    ``band.convolution`` has them; ``rows`` of x go through the cache together.  ``prologue`` as in ``band.copy_band``.
    """
    c, f = shape[3], out_shape[3]
    clear(sums + part * 9 * c * f * 4, 9 * c * f)
    first, last = images_of(part, shape[0])
    for image in range(first, last):
        _image(x + image * shape[1] * shape[2] * c * 4, shape, dy + image * strides[0], out_shape, strides, window,
               rows, prologue, sums + part * 9 * c * f * 4, work)


@entry_point
def add_parts(tap, work, sums: Address, parts: int, size: int, dw: Address):
    """dw[tap] = Σ sums[part, tap] over all parts, of ``size`` floats each; 9 items."""
    out = floats(dw + tap * size * 4, size)
    out[:] = 0
    for part in range(parts):
        accumulate(floats(sums + (part * 9 + tap) * size * 4, size), out)


@inlined
def _image(x, shape, dy, out_shape, strides, window, rows, prologue, sums, scratch):
    h, w, c, f = shape[1], shape[2], shape[3], out_shape[3]
    for r in range(0, h, rows):
        count = min(rows, h - r)
        copy_band(dy, out_shape, strides, window, r, count, w, scratch)
        band, changed = x + r * w * c * 4, scratch + band_rows(rows, window) * row_floats(w, f, window) * 4
        if prologue != 0:
            copy_band(x, shape, (0, 4, w * c * 4, c * 4), PIXEL, r, count, w, changed, prologue)
        for first in range(0, count, max(1, TILE // w)):
            here, line = min(max(1, TILE // w), count - first), scratch + first * row_floats(w, f, window) * 4
            at = first * w * c * 4
            _tile((band if prologue == 0 else changed) + at, c, line, f, here, w, sums, band + rows * w * c * 4 + at,
                  dy + (r + first + rows) * strides[2])


@inlined
def _tile(x, c, dy, f, count, w, sums, later, dy_later):
    """``count`` rows, every pair of channels; each prefetches its share of the tile's pixels in the next band."""
    shares = c // CHANNELS * (f // LANES)
    x_share, dy_share = count * w * c * 4 // shares, count * w * f * 4 // shares
    for channel in range(0, c, CHANNELS):
        out = sums + channel * f * 4
        for k in range(0, f * 4, LANES * 4):
            prefetch(later, x_share)
            prefetch(dy_later, dy_share)
            later, dy_later = later + x_share, dy_later + dy_share
            if f == LANES:
                _narrow(x + channel * 4, c, dy + k, count, w, out + k)
            else:
                _wide(x + channel * 4, c, dy + k, count, w, out + k)
