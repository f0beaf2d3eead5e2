"""From float32 to bfloat16 and back, and the steps between convolutions that touch every number once."""

from ..codegen.bfloat16 import narrow, widen
from ..codegen.jit import floor_of, inlined
from ..codegen.vector import floats, words
from ..pointwise import PIXELS
from ..program.entry_point import Address, Shape, Shared, entry_point


@entry_point
def narrow_image(row, work, x: Address, shape: Shape, y: Address, stored: int):
    """A row of images (N, C, H, W) in float32 as bfloat16, channels last; those of ``stored`` beyond C are 0."""
    (_, c, h, w), image, p = shape, row // shape[2], row % shape[2]
    out = words(y + row * w * stored * 2, w * stored)
    for k in range(stored):
        if k < c:
            _place(floats(x + ((image * c + k) * h + p) * w * 4, w), k, stored, out)
        else:
            out[k::stored] = 0


@inlined
def _place(values, first, step, out):
    for q in range(len(values)):
        out[first + q * step] = narrow(values[q])


@entry_point
def narrow_all(item, work, x: Address, pixels: int, channels: int, y: Address):
    """bfloat16 of numbers in float32."""
    first, n = _share(item, pixels, channels)
    _narrow(floats(x + first * 4, n), words(y + first * 2, n))


@entry_point
def widen_all(item, work, x: Address, pixels: int, channels: int, y: Address):
    """Float32 of numbers in bfloat16."""
    first, n = _share(item, pixels, channels)
    _widen(words(x + first * 2, n), floats(y + first * 4, n))


@inlined
def _share(item, pixels, channels):
    """The first number of an item's pixels, and how many there are."""
    first = item * PIXELS
    return first * channels, (min(pixels, first + PIXELS) - first) * channels


@inlined
def _narrow(x, y):
    for k in range(len(x)):
        y[k] = narrow(x[k])


@inlined
def _widen(x, y):
    for k in range(len(x)):
        y[k] = widen(x[k])


@entry_point
def affine(item, work, x: Address, pixels: int, channels: int, scale: Shared, shift: Shared, relu: bool, y: Address):
    """y = scale·x + shift, at least 0 with ``relu``: a batch norm in evaluation.  ``pixels``: of all images."""
    c = channels
    for m in range(item * PIXELS, min(pixels, (item + 1) * PIXELS)):
        _affine(words(x + m * c * 2, c), floats(scale, c), floats(shift, c), floor_of(relu), words(y + m * c * 2, c))


@inlined
def _affine(x, scale, shift, floor, y):
    for k in range(len(x)):
        v = scale[k] * widen(x[k]) + shift[k]
        y[k] = narrow(floor if v < floor else v)


@entry_point
def add(item, work, x: Address, z: Address, pixels: int, channels: int, relu: bool, y: Address):
    """y = x + z, at least 0 with ``relu``: a residual sum whose branch does not end in a convolution."""
    first, n = _share(item, pixels, channels)
    _add(words(x + first * 2, n), words(z + first * 2, n), floor_of(relu), words(y + first * 2, n))


@inlined
def _add(x, z, floor, y):
    for k in range(len(x)):
        v = widen(x[k]) + widen(z[k])
        y[k] = narrow(floor if v < floor else v)
