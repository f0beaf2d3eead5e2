"""ReLU and sums over memory as it lies, channels first or last."""

from ...backend import array_namespace
from ...ops.activation import relu
from ...ops.add import add
from .launch import first, fits, last, launch_each, width_of


@relu.register("cupy")
def relu_cupy(x):
    """Equals :func:`npresnet.ops.relu`.

    Saves: y.
    """
    if not fits(x):
        return relu.reference(x)
    x, back = dense(x)
    y = each("relu", x)
    return back(y), lambda dy: back(each("relu_back", y, like_memory(dy, y, back)))


@add.register("cupy")
def add_cupy(a, b):
    """Equals :func:`npresnet.ops.add`.

    Saves: nothing.
    """
    array_namespace(a, b)                                            # raises where they live apart
    if not fits(a, b) or a.shape != b.shape:
        return add.reference(a, b)
    a, back = dense(a)
    return back(each("add", a, like_memory(b, a, back))), lambda dy: (dy, dy)


def dense(x):
    """x's memory without gaps, and the map of such an array back to x's order of axes; a copy only where needed."""
    if x.ndim != 4 or x.flags.c_contiguous:
        return array_namespace(x).ascontiguousarray(x), lambda y: y
    return last(x), first


def like_memory(x, other, back):
    """x in the memory order and dtype of ``other``."""
    return last(x, other.dtype) if back is first else array_namespace(x, other).ascontiguousarray(x, other.dtype)


def each(name, *arrays):
    """A fresh array from each pack of those given."""
    y = array_namespace(*arrays).empty(arrays[0].shape, arrays[0].dtype)
    width = width_of(y.dtype, y.size, *arrays, y)
    launch_each(name, (*arrays, y), (), y.size // width, width)
    return y
