"""Pooling bfloat16: its largest number is exact, its mean is taken in float64 and rounded once."""

import numpy as np
from llvmlite import ir

from ..codegen.bfloat16 import narrow, widen
from ..codegen.dot import I16
from ..codegen.jit import inlined
from ..codegen.vector import words
from ..program.entry_point import Address, Shape, Sides, entry_point
from ..quantized.pool import Order, make_pool_rows


def _integers(builder, bits):
    """Integers with a sign that compare as the numbers do: of the negative ones, all bits but the sign are turned."""

    def each(number):
        return ir.Constant(bits.type, [number] * bits.type.count)

    return builder.xor(bits, builder.and_(builder.ashr(bits, each(15)), each(0x7FFF)))


MINUS_INFINITY = (0xFF80 ^ 0x7FFF) - 2**16          # its integer; a NaN without a sign is above all others, and wins
pool_rows = make_pool_rows(Order(I16, MINUS_INFINITY, True, _integers))


@entry_point
def max_pool(item, work, x: Address, shape: Shape, window: Sides, y: Address, out_shape: Shape):
    """A row of :func:`npresnet.ops.max_pool2d`."""
    (_, h, w, c), (_, oh, ow, _) = shape, out_shape
    image, p = item // oh, item % oh
    pool_rows(x + image * h * w * c * 2, h, w, c, window, y + image * oh * ow * c * 2, ow, p, p + 1)


@entry_point
def mean(image, work, x: Address, pixels: int, channels: int, y: Address):
    """One image of :func:`npresnet.ops.global_avg_pool2d`."""
    total = np.zeros(channels)
    for pixel in range(pixels):
        _accumulate(words(x + (image * pixels + pixel) * channels * 2, channels), total)
    out = words(y + image * channels * 2, channels)
    for k in range(channels):
        out[k] = narrow(np.float32(total[k] / pixels))


@inlined
def _accumulate(values, total):
    for k in range(len(total)):
        total[k] += widen(values[k])
