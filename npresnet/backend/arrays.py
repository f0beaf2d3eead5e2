"""Which namespace arrays belong to, and which dtypes are floating-point ones."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy
from numpy.typing import NDArray

Array = NDArray[Any]  # NumPy's, or CuPy's, which has the same methods
Pullback = Callable[..., Any]  # dy → (dx, …), an op's; dy → dx, a module's

PLAIN = {numpy.dtype(size) for size in ("float16", "float32", "float64")}


def array_namespace(*arrays: Any) -> ModuleType:
    """The module, numpy or cupy, whose functions apply to ``arrays`` (None is ignored)."""
    cupy = sys.modules.get("cupy")  # never imported here: without it no array can be on a GPU
    if cupy is None:
        return numpy
    on_gpu = {isinstance(a, cupy.ndarray) for a in arrays if a is not None}
    if len(on_gpu) > 1:
        raise TypeError("these arrays live on different devices; move them with to_device()")
    return cupy if on_gpu == {True} else numpy


def namespace_for(**arrays: Any) -> ModuleType:
    """:func:`array_namespace` of floating arrays that must share one dtype (None is ignored).

    bfloat16 is one of them on a GPU; NumPy's own functions do not keep to it.
    """
    if len(found := {getattr(a, "dtype", None) for a in arrays.values() if a is not None}) == 1 and found <= PLAIN:
        return array_namespace(*arrays.values())  # the short way: every op calls this
    dtypes = {name: getattr(a, "dtype", type(a).__name__) for name, a in arrays.items() if a is not None}
    listing = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
    known = all(map(floating, dtypes.values()))
    if not known or ("bfloat16" in map(str, dtypes.values()) and array_namespace(*arrays.values()) is numpy):
        raise TypeError(f"floating-point arrays are needed, but {listing}; convert with astype(np.float32)")
    if len(set(dtypes.values())) > 1:
        raise TypeError(f"one dtype is needed, but {listing}; convert with astype(), arrays and models alike")
    return array_namespace(*arrays.values())


def floating(dtype: Any) -> bool:
    """Whether this dtype is one of NumPy's floats, or ml_dtypes' bfloat16, whose ``kind`` is another."""
    return getattr(dtype, "kind", None) == "f" or getattr(dtype, "name", None) == "bfloat16"
