"""Steps that touch every float once, channels last: those not fused into a convolution."""

from .codegen.jit import floor_of, inlined
from .codegen.vector import copy, floats
from .program.entry_point import Address, Pair, Shape, entry_point

PIXELS = 128             # in a work item


@entry_point
def affine(item, work, x: Address, pixels: int, channels: int, scale: Address, shift: Address, relu: bool, y: Address):
    """y = scale·x + shift, at least 0 with ``relu``: a batch norm in evaluation.  ``pixels``: of all images."""
    c = channels
    for m in range(item * PIXELS, min(pixels, (item + 1) * PIXELS)):
        _affine(floats(x + m * c * 4, c), floats(scale, c), floats(shift, c), floor_of(relu), floats(y + m * c * 4, c))


@inlined
def _affine(x, scale, shift, floor, y):
    for k in range(len(x)):
        v = scale[k] * x[k] + shift[k]
        y[k] = floor if v < floor else v


@entry_point
def add(item, work, x: Address, z: Address, pixels: int, channels: int, relu: bool, y: Address):
    """y = x + z, at least 0 with ``relu``: a residual sum whose branch does not end in a convolution."""
    c = channels
    for m in range(item * PIXELS, min(pixels, (item + 1) * PIXELS)):
        _add(floats(x + m * c * 4, c), floats(z + m * c * 4, c), floor_of(relu), floats(y + m * c * 4, c))


@inlined
def _add(x, z, floor, y):
    for k in range(len(x)):
        v = x[k] + z[k]
        y[k] = floor if v < floor else v


@entry_point
def subsample(row, work, x: Address, shape: Shape, channels: int, stride: Pair, before: int, y: Address,
              out_shape: Shape):
    """A row of shortcut A: the first ``channels`` of every ``stride``-th pixel behind ``before`` channels of zeros."""
    (_, h, w, c), (_, oh, ow, f) = shape, out_shape
    image, p = row // oh, row % oh
    for q in range(ow):
        source = x + ((image * h + p * stride[0]) * w + q * stride[1]) * c * 4
        _place(floats(source, channels), before, floats(y + (row * ow + q) * f * 4, f))


@inlined
def _place(values, before, out):
    out[:] = 0
    for k in range(len(values)):
        out[before + k] = values[k]


@inlined
def accumulate(values, out):
    """out += values, which may be of another precision."""
    for k in range(len(out)):
        out[k] += values[k]


@entry_point
def repeat_pixel(row, work, values: Address, channels: int, width: int, out: Address):
    """A row of ``width`` pixels, each of them the row-th of ``values``."""
    for q in range(width):
        copy(values + row * channels * 4, out + (row * width + q) * channels * 4, channels)


@entry_point
def spread_pixels(row, work, part: Address, shape: Shape, stride: Pair, x: Address, x_shape: Shape):
    """A row of x, which is zero but at every ``stride``-th pixel: there it is ``part``, of ``shape``."""
    (_, h, w, c), (_, oh, ow, _), (sh, sw) = x_shape, shape, stride
    image, r = row // h, row % h
    for s in range(w):
        out = floats(x + (row * w + s) * c * 4, c)
        if r % sh == 0 and s % sw == 0:
            _move(floats(part + ((image * oh + r // sh) * ow + s // sw) * c * 4, c), out)
        else:
            out[:] = 0


@entry_point
def interleave(row, work, part: Address, shape: Shape, x: Address, x_shape: Shape, first: Pair, stride: Pair):
    """x[n, first + s·p, first + s·q] = part[n, p, q]; zeros where ``part`` is None.  ``shape`` = (n, h, w, c)."""
    (_, h, w, c), pixel = shape, shape[3] * 4
    line = row // h * x_shape[1] + first[0] + row % h * stride[0]
    to = x + (line * x_shape[2] + first[1]) * pixel
    for q in range(w):
        out = floats(to + q * stride[1] * pixel, c)
        if part == 0:
            out[:] = 0
        else:
            _move(floats(part + (row * w + q) * pixel, c), out)


@inlined
def _move(values, out):
    for k in range(len(out)):
        out[k] = values[k]
