"""3x3 convolutions of many narrow groups, as ResNeXt has them: several groups fill one vector.

    y[p, q, f] = max(floor, Σ_{i,j} Σ_{c < G} x[s·p + i - top, s·q + j - left, g·G + c] · w[f, c, i, j] + bias[f])

with g = ⌊f/G⌋.

Equals :func:`npresnet.ops.conv2d` with G channels and G filters in each group, channels last.  Lane l of a vector is
filter l of LANES / G groups; what it needs of a pixel is channel c of its own group, which a shuffle spreads over the
lanes of that group.  Nothing is padded or copied, and a shuffled vector serves all the outputs of a row that see it.
"""

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..codegen.jit import floor_of, inlined, intrinsic
from ..codegen.vector import F32, I64, LANES, Emit, address, hold
from ..program.entry_point import Address, Pair, Shape, Shared, entry_point

OUTPUTS = 7 if LANES == 8 else 14      # side by side: with their filters they fill the registers
CHANNELS = 2 if LANES == 8 else 4      # of a group at a time


def make_row(group: int, stride: int) -> Callable[..., None]:
    """An intrinsic for OUTPUTS outputs of one row and one vector of filters; ``places`` are their pixels' addresses."""
    group, pixels = min(group, LANES), (OUTPUTS - 1) * stride + 3

    @intrinsic
    def row(context, places, offset, w, bias, outs, column, floor):
        def codegen(context, builder, signature, args):
            places, offset, w, bias, outs, column, floor = args
            e, pick = Emit(builder), _picker(builder, group)
            start = e.load(bias)
            acc = [cgutils.alloca_once_value(builder, start) for _ in range(OUTPUTS)]
            with cgutils.for_range(builder, I64(3)) as tap:
                here = builder.add(places, builder.mul(tap.index, I64(8 * pixels)))
                filters = builder.add(w, builder.mul(tap.index, I64(3 * group * LANES * 4)))
                for first in range(0, group, CHANNELS):
                    some = range(first, min(group, first + CHANNELS))
                    ws = {(c, j): e.load(filters, (3 * c + j) * LANES * 4) for c in some for j in range(3)}
                    for p in range(pixels):
                        x = builder.add(e.load_i64(here, 8 * p), offset)
                        for c, vector in pick(e, x, some):
                            _accumulate(e, acc, vector, [ws[c, j] for j in range(3)], p, stride)
            floor = e.splat(floor)
            for q, a in enumerate(acc):
                e.store(e.maximum(floor, builder.load(a)), builder.add(e.load_i64(outs, 8 * q), column))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6, types.float32), codegen

    return row


def _accumulate(e, acc, vector, ws, p, stride):
    """Add pixel ``p`` to each output that sees it."""
    for j, w in enumerate(ws):
        q, between = divmod(p - j, stride)
        if not between and 0 <= q < len(acc):
            e.builder.store(e.fma(vector, w, e.builder.load(acc[q])), acc[q])


def _picker(builder, group):
    """(e, address, channels) -> each channel of every group, spread over the lanes of its group."""
    def broadcast(e, x, channels):
        return [(c, e.splat(builder.load(e.at(builder.add(x, I64(4 * c)), F32)))) for c in channels]

    def shuffle(e, x, channels):
        vector, kind = e.load(x), ir.VectorType(ir.IntType(32), LANES)
        for c in channels:
            lanes = ir.Constant(kind, [lane // group * group + c for lane in range(LANES)])
            yield c, builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), lanes)

    return broadcast if group == LANES else shuffle


_row4, _row8, _row16 = make_row(4, 1), make_row(8, 1), make_row(16, 1)
_strided4, _strided8, _strided16 = make_row(4, 2), make_row(8, 2), make_row(16, 2)


@entry_point
def grouped4(item, work, x: Address, shape: Shape, stride: int, padding: Pair, w: Shared, bias: Shared, y: Address,
             out_shape: Shape, relu: bool, rows: int, zeros: Shared):
    """``rows`` rows of an image, groups of 4.  ``zeros`` holds a pixel; a thread needs one, too.

    What lies outside the image is read from the one, what outside the result is written to the other.
    """
    _grouped(4, x, shape, stride, padding, w, bias, y, out_shape, floor_of(relu), rows, item, zeros, work)


@entry_point
def grouped8(item, work, x: Address, shape: Shape, stride: int, padding: Pair, w: Shared, bias: Shared, y: Address,
             out_shape: Shape, relu: bool, rows: int, zeros: Shared):
    """Rows of an image, groups of 8."""
    _grouped(8, x, shape, stride, padding, w, bias, y, out_shape, floor_of(relu), rows, item, zeros, work)


@entry_point
def grouped16(item, work, x: Address, shape: Shape, stride: int, padding: Pair, w: Shared, bias: Shared, y: Address,
              out_shape: Shape, relu: bool, rows: int, zeros: Shared):
    """Rows of an image, groups of 16."""
    _grouped(16, x, shape, stride, padding, w, bias, y, out_shape, floor_of(relu), rows, item, zeros, work)


@inlined
def _grouped(group, x, shape, stride, padding, w, bias, y, out_shape, floor, rows, item, zeros, dump):
    h, wide, c, oh, ow = shape[1], shape[2], shape[3], out_shape[1], out_shape[2]
    pixels, parts = (OUTPUTS - 1) * stride + 3, (oh + rows - 1) // rows
    image, first = item // parts, item % parts * rows
    places, outs = np.empty(3 * pixels, np.int64), np.empty(OUTPUTS, np.int64)
    here, out = address(places), address(outs)
    for p in range(first, min(oh, first + rows)):
        for q in range(0, ow, OUTPUTS):
            _addresses(x + image * h * wide * c * 4, h, wide, c, p * stride - padding[0], q * stride - padding[1],
                       zeros, pixels, places)
            for k in range(OUTPUTS):
                outs[k] = y + ((image * oh + p) * ow + q + k) * c * 4 if q + k < ow else dump
            for v in range(0, c // LANES):
                at = v * LANES * 4
                _row(group, stride, here, at, w + v * 9 * group * LANES * 4, bias + at, out, at, floor)
    hold(places, outs)


@inlined
def _row(group, stride, places, offset, w, bias, outs, column, floor):
    if group == 4 and stride == 1:
        _row4(places, offset, w, bias, outs, column, floor)
    elif group == 4:
        _strided4(places, offset, w, bias, outs, column, floor)
    elif group == 8 and stride == 1:
        _row8(places, offset, w, bias, outs, column, floor)
    elif group == 8:
        _strided8(places, offset, w, bias, outs, column, floor)
    elif stride == 1:
        _row16(places, offset, w, bias, outs, column, floor)
    else:
        _strided16(places, offset, w, bias, outs, column, floor)


@inlined
def _addresses(x, h, wide, c, top, left, zeros, pixels, places):
    """The addresses of 3 rows of ``pixels`` pixels that begin at (top, left)."""
    for i in range(3):
        for j in range(pixels):
            r, s = top + i, left + j
            places[i * pixels + j] = x + (r * wide + s) * c * 4 if 0 <= r < h and 0 <= s < wide else zeros
