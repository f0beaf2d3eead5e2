"""ReLU and sums over memory as it lies, channels first or last."""

from collections.abc import Callable

from ...backend import Array, Pullback, array_namespace
from ...ops.activation import relu
from ...ops.add import add
from .launch import channels_first, channels_last, launch_each, pack_width, supports_arrays


@relu.register("cupy", supports=supports_arrays)
def relu_cupy(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.relu`.

    Saves: y.
    """
    x, back = contiguous(x)
    y = elementwise("relu", x)
    return back(y), lambda dy: back(elementwise("relu_back", y, in_memory_order(dy, y, back)))


def _supports_add(a: Array, b: Array) -> bool:
    return supports_arrays(a, b) and a.shape == b.shape


@add.register("cupy", supports=_supports_add)
def add_cupy(a: Array, b: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.add`.

    Saves: nothing.
    """
    array_namespace(a, b)                                            # raises where they live apart
    a, back = contiguous(a)
    return back(elementwise("add", a, in_memory_order(b, a, back))), lambda dy: (dy, dy)


def contiguous(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """x's memory without gaps, and the map of such an array back to x's order of axes; a copy only where needed."""
    if x.ndim != 4 or x.flags.c_contiguous:
        return array_namespace(x).ascontiguousarray(x), lambda y: y
    return channels_last(x), channels_first


def in_memory_order(x: Array, other: Array, back: Callable[[Array], Array]) -> Array:
    """x in the memory order and dtype of ``other``, which :func:`contiguous` gave with ``back``."""
    if back is channels_first:
        return channels_last(x, other.dtype)
    return array_namespace(x, other).ascontiguousarray(x, other.dtype)


def elementwise(name: str, *arrays: Array) -> Array:
    """A fresh array of what the kernel ``name`` makes of each pack of those given."""
    y = array_namespace(*arrays).empty(arrays[0].shape, arrays[0].dtype)
    width = pack_width(y.dtype, y.size, *arrays, y)
    launch_each(name, (*arrays, y), (), y.size // width, width)
    return y
