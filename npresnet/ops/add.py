"""The sum of two paths."""

from ..backend import Array, Pullback, namespace_for
from .check import array
from .rules import op


@op
def add(a: Array, b: Array) -> tuple[Array, Pullback]:
    """y = a + b;   da = dy,   db = dy.

    Shapes: any, but the same.
    Saves: nothing.
    Raises: ValueError where the shapes differ, TypeError where dtypes or devices do.
    """
    array(b, "b")
    namespace_for(a=a, b=b)
    if a.shape != b.shape:
        raise ValueError(f"the two paths of a sum need one shape, not {a.shape} and {b.shape}")
    return a + b, lambda dy: (dy, dy)
