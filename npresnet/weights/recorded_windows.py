"""Strides, kernels, dilations and paddings as files record them, in one form."""

from typing import Any

from ..formats.state import Layer


def stride_of(layer: Layer | None) -> int:
    return (side(layer, "stride") or 1) if layer else 1


def dilation_of(layer: Layer | None) -> int:
    return (side(layer, "dilation") or 1) if layer else 1


def side(layer: Layer, name: str) -> int:
    """The number, or the first of a pair; 0 where there is none."""
    value = layer.options.get(name)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if type(value) is int else 0


def sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of an int, a pair or pairs."""
    vertical, horizontal = padding if isinstance(padding, tuple) else (padding, padding)
    pairs = [side if isinstance(side, tuple) else (side, side) for side in (vertical, horizontal)]
    return pairs[0], pairs[1]


def listed(padding: Any) -> Any:
    """The shortest form of a padding, with lists for tuples."""
    if padding == "same":
        return padding
    (top, bottom), (left, right) = padding
    if top == bottom and left == right:
        return top if top == left else [top, left]
    return [[top, bottom], [left, right]]


def pair(value: Any) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


def shortest(value: tuple[int, int]) -> Any:
    return value[0] if value[0] == value[1] else list(value)
