"""Pooling levels of 8 bits: :mod:`npresnet.ops.quantized_pool`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from ..codegen.jit import inlined, intrinsic
from ..codegen.vector import I8, I64, LANES, Emit, octets
from ..program.entry_point import Address, Shape, Sides, entry_point
from .rounding import clamped


class Order(NamedTuple):
    """Numbers in memory as integers of LLVM's ``kind``, which compare as the numbers do.

    ``least`` is none of them, or the first; ``integers(builder, vector)``, which undoes itself, are those of the bits.
    """

    kind: Any
    least: int
    has_sign: bool
    integers: Callable[[Any, Any], Any]


def make_pool_rows(order: Order) -> Callable[..., None]:
    """:func:`..pool.pool_rows` of such numbers."""
    largest, nbytes = _make_largest(order), order.kind.width // 8

    @inlined
    def pool_rows(x, h, w, c, window, y, ow, first, last):
        """Output rows [first, last) of one image at ``x``, written to one at y."""
        kh, kw, sh, sw, dh, dw, top, left = window
        for p in range(first, last):
            r, rows = _inside(p * sh - top, kh, dh, h)
            for q in range(ow):
                s, columns = _inside(q * sw - left, kw, dw, w)
                largest(x + (r * w + s) * c * nbytes, rows, columns, dh * w * c * nbytes, dw * c * nbytes, c,
                        y + (p * ow + q) * c * nbytes)

    return pool_rows


def _make_largest(order):
    @intrinsic
    def largest(context, first, rows, columns, row_step, column_step, n, out):
        """The largest of each of n numbers over ``rows`` times ``columns`` pixels; n is a multiple of LANES."""
        def codegen(context, builder, signature, args):
            first, rows, columns, row_step, column_step, n, out = args
            many = 32 // order.kind.width * LANES
            wide = builder.icmp_unsigned("==", builder.urem(n, I64(many)), I64(0))
            with builder.if_else(wide) as (in_whole_registers, in_parts):
                for branch, count in ((in_whole_registers, many), (in_parts, LANES)):
                    with branch:
                        _for_each(builder, order, count, first, rows, columns, row_step, column_step, n, out)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return largest


def _for_each(builder, order, count, first, rows, columns, row_step, column_step, n, out):
    e, kind = Emit(builder), ir.VectorType(order.kind, count)
    compare = builder.icmp_signed if order.has_sign else builder.icmp_unsigned
    with cgutils.for_range(builder, builder.udiv(n, I64(count))) as part:
        offset = builder.mul(part.index, I64(count * order.kind.width // 8))
        best = cgutils.alloca_once_value(builder, ir.Constant(kind, [order.least] * count))
        with cgutils.for_range(builder, rows) as row:
            line = builder.add(builder.add(first, offset), builder.mul(row.index, row_step))
            with cgutils.for_range(builder, columns) as column:
                value = e.load(builder.add(line, builder.mul(column.index, column_step)), 0, kind)
                value = order.integers(builder, value)
                larger = compare(">", value, builder.load(best))
                builder.store(builder.select(larger, value, builder.load(best)), best)
        e.store(order.integers(builder, builder.load(best)), builder.add(out, offset))


@inlined
def _inside(first, taps, step, size):
    """The first pixel of a window that lies inside the image, and how many do."""
    before = (max(0, -first) + step - 1) // step
    behind = (size - 1 - first) // step + 1
    return first + before * step, max(0, min(taps, behind) - before)


pool_rows = make_pool_rows(Order(I8, 0, False, lambda builder, levels: levels))


@entry_point
def max_pool(item, work, x: Address, shape: Shape, window: Sides, y: Address, out_shape: Shape):
    """A row of :func:`npresnet.ops.quantized_max_pool2d`."""
    (_, h, w, c), (_, oh, ow, _) = shape, out_shape
    image, p = item // oh, item % oh
    pool_rows(x + image * h * w * c, h, w, c, window, y + image * oh * ow * c, ow, p, p + 1)


@entry_point
def mean(image, work, x: Address, pixels: int, channels: int, zero: int, y: Address):
    """One image of :func:`npresnet.ops.quantized_mean`: clamp(round((Σ q − H W z) · 1/(H W)) + z)."""
    total = np.zeros(channels, np.int32)
    for pixel in range(pixels):
        _accumulate(octets(x + (image * pixels + pixel) * channels, channels), total)
    share, out = np.float32(1) / np.float32(pixels), octets(y + image * channels, channels)
    for k in range(channels):
        level = np.rint(np.float32(total[k] - pixels * zero) * share)
        out[k] = clamped(level + np.float32(zero), np.float32(0), np.float32(255))


@inlined
def _accumulate(values, total):
    for k in range(len(total)):
        total[k] += values[k]
