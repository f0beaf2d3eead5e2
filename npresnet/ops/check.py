"""Checks of single values: each raises one line that names the argument, or returns the value as Python's own."""

import numpy

from ..backend import array_namespace, floating

LONGEST = 60            # characters of a wrong value that a message repeats
LARGEST = 2**31 - 1     # the integers that every kernel can count with


def integer(value, name, least) -> int:
    if type(value) is int and least <= value <= LARGEST:
        return value
    if isinstance(value, bool) or not isinstance(value, int | numpy.integer):
        raise TypeError(f"{name} must be an integer, not {shown(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {shown(value)}")
    if value > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}, not {shown(value)}")
    return int(value)


def pair(value, name="a size", least=1) -> tuple[int, int]:
    """``3 → (3, 3)``;  ``(3, 5) → (3, 5)``: integers for (vertical, horizontal)."""
    return tuple(integer(v, name, least) for v in _two(value, name))


def padding(value, name="padding") -> tuple[tuple[int, int], tuple[int, int]]:
    """``1 → ((1, 1), (1, 1))``;  ``(1, 2) → ((1, 1), (2, 2))``;  ((top, bottom), (left, right)) as it is."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be an integer, a pair or ((top, bottom), (left, right)), not {shown(value)}; "
                        "'valid' is 0, and only layers know 'same'")
    return tuple(pair(v, name, 0) for v in _two(value, name))


def _two(value, name):
    if not isinstance(value, tuple | list):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{name} must be one value or a (vertical, horizontal) pair, not {shown(value)}")
    return value


def number(value, name, least=-numpy.inf, most=numpy.inf) -> float:
    if type(value) is float and least <= value <= most and abs(value) < numpy.inf:
        return value
    if getattr(value, "shape", None) == () and array_namespace(value) is not numpy:
        return value                                                    # looking at it would make a GPU wait
    if isinstance(value, bool) or not isinstance(value, int | float | numpy.integer | numpy.floating):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    if not (least <= value <= most and abs(value) < numpy.inf):         # nor is NaN
        span = f"lie in {least} … {most}" if most < numpy.inf else f"be finite and at least {least}"
        raise ValueError(f"{name} must {span}, not {shown(value)}")
    return float(value)


def flag(value, name) -> bool:
    if not isinstance(value, bool | numpy.bool_):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def array(value, name):
    if not hasattr(value, "dtype"):
        raise TypeError(f"{name} must be an array, not {shown(value)}")
    return value


def class_numbers(value, name):
    if not isinstance(value, numpy.ndarray) and array_namespace(value) is numpy:
        raise TypeError(f"{name} must be an array of integers, not a {type(value).__name__}; use np.asarray({name})")
    return value


def float_dtype(value, name):
    try:
        known = floating(numpy.dtype(value))
    except TypeError:
        known = False
    if not known or value is None:
        raise TypeError(f"{name} must be a floating-point dtype, not {shown(value)}")
    return numpy.dtype(value)


def images(x, name):
    """Four axes, which is how an op called ``name`` takes images."""
    if getattr(x, "ndim", None) != 4:
        raise ValueError(f"{name} takes images (N, C, H, W), not {getattr(x, 'shape', shown(x))}")


def one_shape(**arrays):
    """Arrays of one shape (None is ignored): another would be stretched."""
    given = {name: a for name, a in arrays.items() if a is not None}
    if len({a.shape for a in given.values()}) > 1:
        raise ValueError(f"one shape is needed, but {', '.join(f'{name} is {a.shape}' for name, a in given.items())}")


def shown(value) -> str:
    """A wrong value in a message of one line: itself, or its type where that would be long."""
    text = repr(value)
    return text if len(text) <= LONGEST and text.isprintable() else f"a {type(value).__name__}"
