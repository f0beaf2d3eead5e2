"""Layers without memory of their own, for networks that are only looked at, or whose arrays a file brings."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_used: ContextVar[bool] = ContextVar("placeholders", default=False)


@contextmanager
def placeholders(used: bool = True) -> Iterator[None]:
    """In here new layers hold, in the place of each array, one number in its shape, which nobody can write to.

    A network of them tells everything but its numbers: keys, shapes, dtypes, layers.  With ``used=False`` nothing is
    other than outside.
    """
    token = _used.set(used)
    try:
        yield
    finally:
        _used.reset(token)


def zeros(*shape: int) -> np.ndarray:
    """The float32 array that a new layer begins with."""
    return np.broadcast_to(np.float32(0), shape) if _used.get() else np.zeros(shape, np.float32)


def ones(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.float32(1), shape) if _used.get() else np.ones(shape, np.float32)
