"""From real numbers to levels of 8 bits, and sums of levels."""

import numpy as np

from ..codegen.jit import inlined
from ..codegen.vector import floats, integers32, octets
from ..program.entry_point import Address, Pair, Shape, Shared, entry_point

PIXELS = 128             # in a work item


@inlined
def clamped(level, low, high):
    """min(max(level, low), high) as a level of 8 bits, where a NaN becomes low."""
    level = level if level > low else low
    return np.uint8(np.int32(level if level < high else high))


@entry_point
def levels_of_image(row, work, x: Address, shape: Shape, inverse: Shared, zero: int, y: Address, stored: int):
    """A row of :func:`npresnet.ops.quantize` of images (N, C, H, W) in float32, channels last, four to an element.

    ``inverse`` leads to 1/s; what ``stored`` channels have beyond C repeats the last, and has weight zero.
    """
    (_, _, h, w), scale, each = shape, np.float64(floats(inverse, 1)[0]), stored // 4
    image, p = row // h, row % h
    out = integers32(y + row * w * stored, w * each)
    for k in range(each):
        first, second = _plane(x, shape, image, p, 4 * k), _plane(x, shape, image, p, 4 * k + 1)
        third, last = _plane(x, shape, image, p, 4 * k + 2), _plane(x, shape, image, p, 4 * k + 3)
        _place(first, second, third, last, scale, zero, k, each, out)


@inlined
def _plane(x, shape, image, p, channel):
    """The row of one channel."""
    (_, c, h, w), channel = shape, min(channel, shape[1] - 1)
    return floats(x + ((image * c + channel) * h + p) * w * 4, w)


@inlined
def _place(a, b, c, d, scale, zero, first, step, out):
    for q in range(len(a)):
        low = _level(a[q], scale, zero) | _level(b[q], scale, zero) << 8
        out[first + q * step] = low | _level(c[q], scale, zero) << 16 | _level(d[q], scale, zero) << 24


@inlined
def _level(value, scale, zero):
    level = np.rint(np.float32(np.float64(value) * scale + zero))
    return np.int32(clamped(level, np.float32(0), np.float32(255)))


@entry_point
def add(item, work, x: Address, other: Address, pixels: int, channels: int, rounding: Shared, y: Address):
    """:func:`npresnet.ops.quantized_add`.

    ``rounding``: z and s of x, those of ``other``, 1/s of the sum, its z, its first and its last level.
    """
    first, end = item * PIXELS * channels, min(pixels, (item + 1) * PIXELS) * channels
    numbers = floats(rounding, 8)
    _add(octets(x + first, end - first), octets(other + first, end - first), numbers[0], numbers[1], numbers[2],
         numbers[3], numbers[4], numbers[5], numbers[6], numbers[7], octets(y + first, end - first))


@inlined
def _add(a, b, a_zero, a_scale, b_zero, b_scale, inverse, zero, low, high, y):
    for k in range(len(y)):
        total = (np.float32(a[k]) - a_zero) * a_scale + (np.float32(b[k]) - b_zero) * b_scale
        y[k] = clamped(np.rint(total * inverse) + zero, low, high)


@entry_point
def relu(item, work, x: Address, pixels: int, channels: int, zero: int, y: Address):
    """:func:`npresnet.ops.quantized_relu`: max(q, z)."""
    first, end = item * PIXELS * channels, min(pixels, (item + 1) * PIXELS) * channels
    _relu(octets(x + first, end - first), np.uint8(zero), octets(y + first, end - first))


@inlined
def _relu(x, zero, y):
    for k in range(len(y)):
        y[k] = max(x[k], zero)


@entry_point
def subsample(row, work, x: Address, shape: Shape, channels: int, stride: Pair, before: int, zero: int, y: Address,
              out_shape: Shape):
    """A row of shortcut A: the first ``channels`` of every ``stride``-th pixel behind ``before`` channels of z."""
    (_, h, w, c), (_, oh, ow, f) = shape, out_shape
    image, p = row // oh, row % oh
    for q in range(ow):
        source = x + ((image * h + p * stride[0]) * w + q * stride[1]) * c
        _behind(octets(source, channels), before, np.uint8(zero), octets(y + (row * ow + q) * f, f))


@inlined
def _behind(values, before, zero, out):
    out[:] = zero
    for k in range(len(values)):
        out[before + k] = values[k]
