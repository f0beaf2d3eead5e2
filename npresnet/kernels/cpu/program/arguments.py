"""The arguments of each entry point, and how they reach it: integers in a row, an array as its address.

Python packs them, compiled code reads them back.  Both follow the fields of a NamedTuple: one whose type is a tuple of
so many integers takes so many places, any other takes one.
"""

from functools import cache
from itertools import count, takewhile
from typing import Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

from numba import types

from ....backend import Array
from ..codegen.jit import intrinsic
from ..codegen.vector import Emit

Address: TypeAlias = int | Array                          # in compiled code an integer; 0: nothing there
Pair: TypeAlias = tuple[int, int]                         # vertical, horizontal
Shape: TypeAlias = tuple[int, int, int, int]              # images, height, width, channels
Strides: TypeAlias = tuple[int, int, int, int]            # bytes from image to image, channel, row, column
Sides: TypeAlias = tuple[int, int, int, int, int, int, int, int]    # kernel, stride, dilation, padding (top, left)


class Product(NamedTuple):
    """Of a 1x1 convolution: blocks of ``block`` pixels, the filters' panels in ``splits`` shares."""

    x: Address
    shape: Shape
    stride: Pair
    w: Address
    bias: Address
    y: Address
    out_shape: Shape
    residual: Address
    relu: bool
    block: int
    splits: int


class Convolution(NamedTuple):
    """Of any convolution, direct: bands of ``rows`` output rows, the filters' panels in ``splits`` shares."""

    x: Address
    shape: Shape
    strides: Strides
    window: Sides
    groups: int
    w: Address
    bias: Address
    y: Address
    out_shape: Shape
    residual: Address
    relu: bool
    rows: int
    splits: int


class PooledConvolution(NamedTuple):
    """Of a convolution with the max-pool behind it; ``middle`` is the size of the image between them."""

    x: Address
    shape: Shape
    strides: Strides
    window: Sides
    w: Address
    bias: Address
    middle: Pair
    relu: bool
    pool: Sides
    y: Address
    out_shape: Shape
    rows: int


class Winograd(NamedTuple):
    """Of a 3x3 convolution of stride 1: blocks of ``block`` tiles; ``u`` the transformed filters."""

    x: Address
    shape: Shape
    padding: Pair
    u: Address
    bias: Address
    y: Address
    out_shape: Shape
    residual: Address
    relu: bool
    block: int
    splits: int
    zeros: Address


class Grouped(NamedTuple):
    """Of a 3x3 convolution in narrow groups, ``rows`` output rows an item."""

    x: Address
    shape: Shape
    stride: int
    padding: Pair
    w: Address
    bias: Address
    y: Address
    out_shape: Shape
    relu: bool
    rows: int
    zeros: Address


class MaxPool(NamedTuple):
    x: Address
    shape: Shape
    window: Sides
    y: Address
    out_shape: Shape


class Mean(NamedTuple):
    x: Address
    pixels: int
    channels: int
    y: Address


class Affine(NamedTuple):
    """Of y = scale·x + shift; ``pixels`` counts those of all images."""

    x: Address
    pixels: int
    channels: int
    scale: Address
    shift: Address
    relu: bool
    y: Address


class GroupNorm(NamedTuple):
    """Of a group norm: blocks of ``block`` channels, groups of ``size``; ``pixels`` counts those of one image."""

    x: Address
    pixels: int
    channels: int
    block: int
    size: int
    gamma: Address
    beta: Address
    eps: Address  # of a float64
    residual: Address
    relu: bool
    y: Address


class Pointwise(NamedTuple):
    """Of an activation of ``size`` floats; ``parameter`` is what the function has besides x."""

    x: Address
    size: int
    parameter: Address
    y: Address


class Add(NamedTuple):
    """Of y = x + z; ``pixels`` counts those of all images."""

    x: Address
    z: Address
    pixels: int
    channels: int
    relu: bool
    y: Address


class Subsample(NamedTuple):
    """Of shortcut A: the first ``channels`` of every ``stride``-th pixel, ``before`` channels of zeros before them."""

    x: Address
    shape: Shape
    channels: int
    stride: Pair
    before: int
    y: Address
    out_shape: Shape


@cache
def widths(kind: type) -> dict[str, int]:
    """How many integers each field takes."""
    hints = get_type_hints(kind)
    return {name: len(get_args(hint)) if get_origin(hint) is tuple else 1 for name, hint in hints.items()}


def offset(kind: type, field: str) -> int:
    """How many integers lie before a field."""
    return sum(width for _, width in takewhile(lambda item: item[0] != field, widths(kind).items()))


def flatten(arguments: tuple) -> list[Any]:
    """The integers and arrays of one of the tuples above, in a row."""
    flat = []
    for value, (name, width) in zip(arguments, widths(type(arguments)).items()):
        values = value if isinstance(value, tuple) else (value,)
        if len(values) != width:
            raise ValueError(f"{type(arguments).__name__}.{name} takes {width} integers, not {len(values)}")
        flat += values
    return flat


@intrinsic
def read(context, kind, at):
    """In compiled code: the arguments ``kind`` at an address, with addresses for arrays."""
    sizes = list(widths(kind.instance_class).values())
    fields = [types.UniTuple(types.int64, n) if n > 1 else types.int64 for n in sizes]
    result = types.NamedTuple(fields, kind.instance_class)

    def codegen(context, builder, signature, args):
        e, place, values = Emit(builder), count(), []
        for n, field in zip(sizes, fields):
            loaded = [e.load_i64(args[1], 8 * next(place)) for _ in range(n)]
            values.append(context.make_tuple(builder, field, loaded) if n > 1 else loaded[0])
        return context.make_tuple(builder, result, values)

    return result(kind, types.int64), codegen
