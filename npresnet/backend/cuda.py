"""GPUs: moving arrays there and back, TF32, recording CUDA graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import numpy

from .arrays import Array, array_namespace, as_array

Movable = TypeVar("Movable")  # an array, NumPy's or CuPy's, or a model
_tf32 = ContextVar("tf32", default=False)


def to_device(thing: Movable, device: str) -> Movable:
    """A copy of an array or a model on ``device``: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    What is on another GPU than the current one is computed with inside ``with cupy.cuda.Device(1)``.
    """
    return _moved(thing, device)


def _moved(thing: Any, device: str) -> Any:
    kind, _, index = device.partition(":") if isinstance(device, str) else (device, "", "")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"unknown device {device!r}; use 'cpu', 'cuda' or 'cuda:1'")
    if hasattr(thing, "map_arrays"):
        return thing.map_arrays(lambda array: to_device(array, device))
    thing = as_array(thing, "the array")
    if not hasattr(thing, "dtype"):
        raise TypeError(f"an array or a model is moved to a device, not a {type(thing).__name__}")
    if kind == "cpu":
        return numpy.array(thing if array_namespace(thing) is numpy else thing.get())
    cupy = gpu()
    with cupy.cuda.Device(int(index or 0)):
        return cupy.array(thing)


def gpu() -> ModuleType:
    """CuPy's module, where CuPy and a GPU can be used; an error that says what is missing elsewhere."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        raise ImportError("a GPU needs CuPy: pip install 'npresnet[cuda12]' or 'npresnet[cuda13]'") from None
    if not cupy.cuda.is_available():
        raise OSError("CuPy finds no usable GPU here (nvidia-smi shows what the driver sees); use the CPU instead")
    return cupy


def captured(cupy: Any, work: Callable[[], Any], stream: Any = None) -> tuple[Any, Any]:
    """(a CUDA graph of what ``work()`` enqueues, what that returned); nothing runs until the graph is launched.

    ``work`` may not wait for the GPU or copy to the host, and what it allocates must stay the graph's own.
    """
    stream = stream or cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            result = work()
        finally:
            graph = stream.end_capture()
    return graph, result


@contextmanager
def tf32(allowed: bool = True) -> Iterator[None]:
    """Let convolutions on a GPU read 10 of the 23 bits of a float32's mantissa: several times faster, 1e-3 off.

    Without it float32 means float32.  A pullback uses the setting of its forward call.
    """
    token = _tf32.set(allowed)
    try:
        yield
    finally:
        _tf32.reset(token)


def tf32_allowed() -> bool:
    """Whether :func:`tf32` is in force."""
    return _tf32.get()


class Captured:
    """A function of arrays on the GPU that returns a tuple of such, launched as one CUDA graph.

    For each set of shapes the first call runs the function as it is, the second captures it, later ones launch the
    graph.  Results of a graph lie in arrays of its own, which its next launch overwrites.  What the function allocates
    while it is captured comes from a memory pool that serves nothing else.
    """

    def __init__(self, xp: Any, function: Callable[..., tuple]):
        self.xp, self.function, self.graphs = xp, function, {}
        self.pool, self.stream = xp.cuda.MemoryPool(), xp.cuda.Stream(non_blocking=True)

    def __call__(self, *arrays: Array) -> tuple:
        shapes = tuple((array.shape, array.dtype.str) for array in arrays)
        if shapes not in self.graphs:
            self.graphs[shapes] = None
            return self.function(*arrays)
        if self.graphs[shapes] is None:
            self.xp.get_default_memory_pool().free_all_blocks()  # what the first call took is now the graph's
            self.graphs[shapes] = self.captured([array.copy(order="K") for array in arrays])
        graph, places, results = self.graphs[shapes]
        for place, array in zip(places, arrays):
            place[...] = array
        graph.launch()
        return results

    def close(self) -> None:
        """Free the graphs' memory; deleting the pool alone would not."""
        self.graphs.clear()
        self.pool.free_all_blocks()

    def captured(self, places: list[Array]) -> tuple[Any, list[Array], Any]:
        """(the graph of the function of what lies in ``places``, those, its results); nothing runs yet."""
        with self.xp.cuda.using_allocator(self.pool.malloc):
            graph, results = captured(self.xp, lambda: self.function(*places), self.stream)
        return graph, places, results
