"""Checks of single values: each raises one line that names the argument, or returns the value as Python's own."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy

from ..backend import Array, array_namespace, as_array, floating

IntOrPair: TypeAlias = int | Sequence[int]                              # 3 or (3, 5), (vertical, horizontal)
Frame: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]        # or ((top, bottom), (left, right))
Padding: TypeAlias = Frame | Literal["valid", "same", "same_lower"]
Value = TypeVar("Value")

PADDINGS = "valid", "same", "same_lower"
LONGEST = 60            # characters of a wrong value that a message repeats
LARGEST = 2**31 - 1     # the integers that every kernel can count with


def integer(value: Any, name: str, least: int) -> int:
    """``value`` if it is an integer from ``least`` on, NumPy's or Python's, but no bool."""
    if type(value) is int and least <= value <= LARGEST:
        return value
    if isinstance(value, bool) or not isinstance(value, int | numpy.integer):
        raise TypeError(f"{name} must be an integer, not {shown(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {shown(value)}")
    if value > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}, not {shown(value)}")
    return int(value)


def pair(value: IntOrPair, name: str = "a size", least: int = 1) -> tuple[int, int]:
    """``3 → (3, 3)``;  ``(3, 5) → (3, 5)``: integers for (vertical, horizontal)."""
    vertical, horizontal = _two(value, name)
    return integer(vertical, name, least), integer(horizontal, name, least)


def padding(value: Padding, name: str = "padding") -> tuple[tuple[int, int], tuple[int, int]] | str:
    """A word of :data:`PADDINGS`, or a :func:`frame`."""
    if not isinstance(value, str):
        return frame(value, name)
    if value not in PADDINGS:
        raise ValueError(f"{name} must be an integer, a pair, ((top, bottom), (left, right)) or one of "
                         f"{', '.join(map(repr, PADDINGS))}, not {shown(value)}")
    return value


def frame(value: Frame, name: str = "padding") -> tuple[tuple[int, int], tuple[int, int]]:
    """``1 → ((1, 1), (1, 1))``;  ``(1, 2) → ((1, 1), (2, 2))``;  ((top, bottom), (left, right)) as it is."""
    vertical, horizontal = _two(value, name)
    return pair(vertical, name, 0), pair(horizontal, name, 0)


def _two(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, tuple | list):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{name} must be one value or a (vertical, horizontal) pair, not {shown(value)}")
    return value


def number(value: Any, name: str, least: float = -numpy.inf, most: float = numpy.inf) -> float:
    """``value`` if it is a finite number in the range; a number on a GPU as it is, unchecked."""
    if type(value) is float and least <= value <= most and abs(value) < numpy.inf:
        return value
    if getattr(value, "shape", None) == () and array_namespace(value) is not numpy:
        return value                                                    # reading it would make the GPU wait
    if isinstance(value, bool) or not isinstance(value, int | float | numpy.integer | numpy.floating):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    if not (least <= value <= most and abs(value) < numpy.inf):         # nor is NaN
        span = f"lie in {least} … {most}" if most < numpy.inf else f"be finite and at least {least}"
        raise ValueError(f"{name} must {span}, not {shown(value)}")
    return float(value)


def flag(value: Any, name: str) -> bool:
    """``value`` if it is True or False, NumPy's or Python's."""
    if not isinstance(value, bool | numpy.bool_):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def array(value: Any, name: str) -> Any:
    """``value`` if it is an array, another library's as NumPy's."""
    value = as_array(value, name)
    if not hasattr(value, "dtype"):
        raise TypeError(f"{name} must be an array, not {shown(value)}")
    return value


def class_numbers(value: Any, name: str) -> Any:
    """``value`` if it is an array, another library's as NumPy's; which integers it may hold, the loss checks."""
    value = as_array(value, name)
    if not isinstance(value, numpy.ndarray) and array_namespace(value) is numpy:
        raise TypeError(f"{name} must be an array of integers, not a {type(value).__name__}; use np.asarray({name})")
    return value


def float_dtype(value: Any, name: str) -> numpy.dtype[Any]:
    """The floating-point dtype that ``value`` names."""
    try:
        known = floating(numpy.dtype(value))
    except TypeError:
        known = False
    if not known or value is None:
        raise TypeError(f"{name} must be a floating-point dtype, not {shown(value)}")
    return numpy.dtype(value)


def images(x: Array, name: str) -> None:
    """Raise unless ``x`` has the four axes (N, C, H, W) that the op ``name`` needs."""
    if getattr(x, "ndim", None) != 4:
        raise ValueError(f"{name} takes images (N, C, H, W), not {getattr(x, 'shape', shown(x))}")


def one_shape(**arrays: Array | None) -> None:
    """Raise unless all arrays have the same shape (None is ignored): NumPy would broadcast another."""
    given = {name: a for name, a in arrays.items() if a is not None}
    if len({a.shape for a in given.values()}) > 1:
        raise ValueError(f"one shape is needed, but {', '.join(f'{name} is {a.shape}' for name, a in given.items())}")


def shown(value: object) -> str:
    """A wrong value as a message quotes it: its repr, or its type where the repr is long or unprintable."""
    text = repr(value)
    return text if len(text) <= LONGEST and text.isprintable() else f"a {type(value).__name__}"
