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


IN_CPU_MEMORY = (1, 3)  # DLPack's kinds of device that NumPy can read: the CPU, and memory pinned for a GPU
PROTOCOLS = ("__dlpack__", "__array_interface__", "__array__")


def as_array(value: Any, name: str = "x") -> Any:
    """``value`` as an array of NumPy or CuPy that shares its memory, where it is an array of another library.

    PyTorch's tensors, JAX's arrays and all that speak DLPack, ``__array_interface__`` or ``__array__`` are taken; no
    library is imported for it.  What is no array (a list, a number, None) comes back as it is.  Raises TypeError for an
    array that cannot be read, naming it and the cure.
    """
    if type(value) is numpy.ndarray:  # the short way: every op calls this
        return value
    cupy = sys.modules.get("cupy")
    ours = numpy.ndarray if cupy is None else (numpy.ndarray, cupy.ndarray)
    if isinstance(value, ours) or not any(hasattr(value, protocol) for protocol in PROTOCOLS):
        return value
    try:
        if not hasattr(value, "__dlpack__"):
            return numpy.asarray(value)
        return (cupy if cupy and on_gpu(value) else numpy).from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError):
        raise TypeError(f"{name} is a {type(value).__name__} that NumPy cannot read: {cure(value, name)}") from None


def on_gpu(value: Any) -> bool:
    """Whether DLPack says that NumPy cannot read this memory."""
    return value.__dlpack_device__()[0] not in IN_CPU_MEMORY


def cure(value: Any, name: str) -> str:
    """What makes another library's array readable."""
    if getattr(value, "requires_grad", False):
        return f"give {name}.detach(), as its own library would miss npresnet's part of the gradient"
    if str(getattr(value, "dtype", "")).endswith("bfloat16"):
        return "convert it to float32, as NumPy has no bfloat16"
    return "move it to the CPU's memory, or make it a NumPy array"


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
