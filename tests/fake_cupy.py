"""A stand-in for CuPy: arrays that compute with NumPy, refuse to mix with it, and count what leaves the "device".

With it every device-generic line runs on a machine without a GPU, and a forgotten ``np.`` raises.
"""

import sys
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import numpy as np

BINARY = ("add sub mul truediv floordiv mod pow matmul and or xor lt le eq ne gt ge lshift rshift").split()
REFLECTED = ("add sub mul truediv floordiv mod pow matmul and or xor lshift rshift").split()
INPLACE = ("add sub mul truediv floordiv pow and or xor").split()
UNARY = ("neg", "pos", "abs", "invert")
transfers = []          # what left the device: "get", "bool", "int", "float", "item"


class ndarray:
    """Wraps a NumPy array.  Methods and operators delegate; conversions to NumPy raise; scalars stay 0-d arrays."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, array):
        self._array = np.asarray(array)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __getattr__(self, name):
        if name in ("tolist", "tobytes", "data", "ctypes", "tofile") or name.startswith("__array"):
            raise AttributeError(name)
        value = getattr(self._array, name)
        return lifted(value) if callable(value) else wrapped(value)

    def __getitem__(self, key):
        return wrapped(self._array[unwrapped(key)])

    def __setitem__(self, key, value):
        self._array[unwrapped(key)] = unwrapped(value)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return map(wrapped, self._array)

    def __deepcopy__(self, memo):
        return ndarray(self._array.copy())

    def get(self):
        transfers.append("get")
        return self._array.copy()

    def item(self):
        transfers.append("item")
        return self._array.item()

    def __bool__(self):
        transfers.append("bool")
        return bool(self._array)

    def __int__(self):
        transfers.append("int")
        return int(self._array)

    def __float__(self):
        transfers.append("float")
        return float(self._array)


def unwrapped(value):
    """The NumPy arrays of arguments; a NumPy array among them is what this module exists to find."""
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: an array of the host met one of the device")
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, tuple | list):
        return type(value)(map(unwrapped, value))
    return value


def wrapped(value):
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(value)
    return tuple(map(wrapped, value)) if isinstance(value, tuple) and any(
        isinstance(part, np.ndarray) for part in value) else value


def lifted(function):
    def call(*args, **kwargs):
        return wrapped(function(*map(unwrapped, args), **{key: unwrapped(value) for key, value in kwargs.items()}))
    return call


def _operators():
    for name in (*BINARY, *UNARY, *(f"r{name}" for name in REFLECTED), *(f"i{name}" for name in INPLACE)):
        def method(self, *args, _name=f"__{name}__"):
            result = getattr(self._array, _name)(*map(unwrapped, args))
            return self if _name.startswith("__i") and _name != "__invert__" else wrapped(result)
        setattr(ndarray, f"__{name}__", method)


_operators()


def module() -> ModuleType:
    """A module that answers to ``import cupy``."""
    cupy = ModuleType("cupy")
    cupy.ndarray = ndarray
    cupy.asarray = cupy.array = lambda a, dtype=None, **_: ndarray(
        np.array(a._array if isinstance(a, ndarray) else a, dtype))          # the door from the host
    cupy.asnumpy = lambda a: a.get()

    def attribute(name):
        value = getattr(np, name)
        return value if isinstance(value, type) or not callable(value) else lifted(value)

    cupy.__getattr__ = attribute

    class Device:
        def __init__(self, index=0):
            self.index = index

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.Device = Device
    cupy.cuda.is_available = lambda: False
    return cupy


@contextmanager
def installed():
    """``import cupy`` means the stand-in inside the block, with its list of transfers emptied."""
    with mock.patch.dict(sys.modules, cupy=module()):
        transfers.clear()
        yield sys.modules["cupy"]
