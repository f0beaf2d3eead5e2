"""3x3 convolutions of stride 1 with so few channels that a product would wait for its loads.

Equals :func:`npresnet.ops.conv2d`, channels last.  Of a row of outputs that share the rows of the image they see, each
value of the image is read once and sent to the three outputs it belongs to, which stay in registers:

    y[q, :] += x[q + j, c] · w[i, j, c, :]            for j = 0, 1, 2, and PIXELS neighbours q
"""

from collections.abc import Callable

from numba import types
from numba.core import cgutils

from ....ops.window import Window
from ..codegen.jit import inlined, intrinsic
from ..codegen.vector import F32, I64, LANES, SECOND_CACHE, Emit
from ..program.entry_point import Address, Shape, Shared, Sides, Strides, entry_point
from .band import copy_band, row_floats

PIXELS = 8 if LANES == 8 else 16     # with three vectors of filters and one value they fill the registers


def supports(window: Window, c: int, f: int) -> bool:
    """Whether the kernels here and in :mod:`.slide_gradient` take such a window, from c channels to f."""
    return window[:2] == ((3, 3), (1, 1)) and {c, f} <= {LANES, 2 * LANES}


def supports_width(width: int) -> bool:
    """Whether a row of so many outputs is PIXELS long or longer, and about a multiple of them."""
    return width >= PIXELS and -(-width // PIXELS) * PIXELS * 8 <= width * 9


def make_slide(channels: int, width: int) -> Callable[..., None]:
    """An intrinsic for PIXELS outputs of one vector of filters; ``width`` is that of the filters' panel.

    Meanwhile it prefetches the PIXELS pixels at ``later``, a line at a time: all at once they would hold up the loads.
    """

    @intrinsic
    def slide(context, x, row_step, w, bias, out, out_step, later):
        def codegen(context, builder, signature, args):
            x, row_step, w, bias, out, out_step, later = args
            e = Emit(builder)
            acc = [cgutils.alloca_once_value(builder, e.load(bias)) for _ in range(PIXELS)]
            with cgutils.for_range(builder, I64(3)) as i, cgutils.for_range(builder, I64(channels)) as c:
                here = builder.add(builder.add(x, builder.mul(i.index, row_step)), builder.mul(c.index, I64(4)))
                row = builder.add(builder.mul(i.index, I64(3 * channels)), c.index)
                filters = builder.add(w, builder.mul(row, I64(4 * width)))
                taps = [e.load(filters, 4 * width * channels * j) for j in range(3)]
                e.prefetch(builder.add(later, builder.mul(c.index, I64(4 * PIXELS))), SECOND_CACHE)
                for s in range(PIXELS + 2):
                    value = e.splat(builder.load(e.at(e.add(here, 4 * channels * s), F32)))
                    for j in range(max(0, s - PIXELS + 1), min(2, s) + 1):
                        builder.store(e.fma(value, taps[j], builder.load(acc[s - j])), acc[s - j])
            for q in range(PIXELS):
                e.store(builder.load(acc[q]), builder.add(out, builder.mul(out_step, I64(q))))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return slide


_slides = {(c, width): make_slide(c, width) for c in (LANES, 2 * LANES) for width in (LANES, 2 * LANES)}
_1_1, _1_2, _2_1, _2_2 = (_slides[c * LANES, width * LANES] for c in (1, 2) for width in (1, 2))


@entry_point
def slide_over(item, work, x: Address, shape: Shape, strides: Strides, window: Sides, w: Shared, bias: Shared,
               y: Address, out_shape: Shape, rows: int, prologue: Shared):
    """A band of ``rows`` output rows; arguments as in ``band.convolution``, ``prologue`` as in ``band.copy_band``.

    c and f are LANES or twice as many; the width of y is one of :func:`supports_width`.
    """
    bands = (out_shape[1] + rows - 1) // rows
    image, p = item // bands, item % bands * rows
    count = min(rows, out_shape[1] - p)
    copy_band(x + image * strides[0], shape, strides, window, p, count, out_shape[2], work, prologue)
    out = y + (image * out_shape[1] + p) * out_shape[2] * out_shape[3] * 4
    later = x + image * strides[0] + (p + rows) * strides[2]             # the next band
    _slide_band(work, shape[3], window, w, bias, out, count, out_shape[2], out_shape[3], later)


@inlined
def _slide_band(scratch, c, window, w, bias, y, count, ow, f, later):
    step = row_floats(ow, c, window) * 4
    for p in range(count):
        for k in range(0, f, LANES):
            for start in range(0, ow, PIXELS):
                q = min(start, ow - PIXELS)                  # the last ones may be computed twice
                source, out = scratch + p * step + q * c * 4, y + ((p * ow + q) * f + k) * 4
                prefetched = later + (p * ow + q) * c * 4
                if c == LANES:
                    if f == LANES:
                        _1_1(source, step, w, bias + k * 4, out, f * 4, prefetched)
                    else:
                        _1_2(source, step, w + k * 4, bias + k * 4, out, f * 4, prefetched)
                elif f == LANES:
                    _2_1(source, step, w, bias + k * 4, out, f * 4, prefetched)
                else:
                    _2_2(source, step, w + k * 4, bias + k * 4, out, f * 4, prefetched)
