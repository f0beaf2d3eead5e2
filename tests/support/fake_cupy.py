"""A stand-in for CuPy: arrays that compute with NumPy, refuse to mix with it, and count what leaves the "device".

With it every device-generic line runs on a machine without a GPU, and a forgotten ``np.`` raises.  Where a C++ compiler
is found the CUDA kernels run too, compiled for the host (cuda/emulate.py); fresh memory is poisoned, and a stream
that captures records launches and products, and refuses everything else.
"""

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np

from .cuda import blas, emulate

BINARY = ("add sub mul truediv floordiv mod pow matmul and or xor lt le eq ne gt ge lshift rshift").split()
REFLECTED = ("add sub mul truediv floordiv mod pow matmul and or xor lshift rshift").split()
INPLACE = ("add sub mul truediv floordiv pow and or xor").split()
UNARY = ("neg", "pos", "abs", "invert")
transfers = []  # what the host waited for: "get", "bool", "int", "float", "item", "synchronize"
recording = []  # one list of calls for each stream that captures
pools = []  # allocators in use in place of the common one
streams = []  # those entered, the current one last
kernels_run = False  # see installed()
PRODUCTS = {"matmul", "dot", "vdot", "inner", "tensordot", "einsum"}


class ndarray:
    """Wraps a NumPy array.  Methods and operators delegate; conversions to NumPy raise; scalars stay 0-d arrays."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, array):
        self._array = np.asarray(array)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    @property
    def device(self):
        return SimpleNamespace(id=0)

    @property
    def data(self):
        return SimpleNamespace(ptr=self._array.ctypes.data)

    def __getattr__(self, name):
        if name in ("tolist", "tobytes", "ctypes", "tofile") or name.startswith("__array"):
            raise AttributeError(name)
        value = getattr(self._array, name)
        return lifted(value) if callable(value) else wrapped(value)

    def __getitem__(self, key):
        keys = unwrapped(key if isinstance(key, tuple) else (key,))
        if any(isinstance(part, np.ndarray | list) for part in keys):  # a copy, not a view
            return replayed(lambda: self._array[keys]) if recording else ndarray(self._array[keys])
        return ndarray(self._array[keys if Ellipsis in keys else (*keys, ...)])  # a view, of a single number too

    def __setitem__(self, key, value):
        recorded(self._array.__setitem__)(unwrapped(key), unwrapped(value))

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (self[number] for number in range(len(self)))

    def __deepcopy__(self, memo):
        return ndarray(self._array.copy())

    def get(self):
        leave("get")
        return self._array.copy()

    def item(self):
        leave("item")
        return self._array.item()

    def __bool__(self):
        leave("bool")
        return bool(self._array)

    def __int__(self):
        leave("int")
        return int(self._array)

    def __float__(self):
        leave("float")
        return float(self._array)


def leave(how):
    """Something is asked for by the host."""
    if recording:
        raise RuntimeError(f"{how} while a stream captures")
    transfers.append(how)


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
    return (
        tuple(map(wrapped, value))
        if isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value)
        else value
    )


VIEWS = {"reshape", "swapaxes", "transpose", "view", "ravel"}


def refuse_product(name):
    """CuPy's own products go through its binding of cuBLAS, which no stream may capture (cublas.pyx, setStream).

    Where the references run in place of the kernels they may: those have no other products.
    """
    if recording and kernels_run and name in PRODUCTS:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


def lifted(function):
    def call(*args, **kwargs):
        refuse_product(function.__name__)

        def compute():
            return function(*map(unwrapped, args), **{key: unwrapped(value) for key, value in kwargs.items()})

        if recording and not (function.__name__ in VIEWS and np.shares_memory(compute(), function.__self__)):
            return replayed(compute)
        return wrapped(compute())

    return call


def _operators():
    for name in (*BINARY, *UNARY, *(f"r{name}" for name in REFLECTED), *(f"i{name}" for name in INPLACE)):

        def method(self, *args, _name=f"__{name}__"):
            refuse_product("matmul" if "matmul" in _name else _name)
            if recording:
                inplace = _name.startswith("__i") and _name != "__invert__"
                found = replayed(lambda: getattr(self._array, _name)(*map(unwrapped, args)), inplace)
                return self if inplace else found
            result = getattr(self._array, _name)(*map(unwrapped, args))
            return self if _name.startswith("__i") and _name != "__invert__" else wrapped(result)

        setattr(ndarray, f"__{name}__", method)


_operators()


def replayed(compute, inplace=False):
    """The array that a captured graph fills each time it is launched; its memory must be the graph's own."""
    if not pools:
        raise RuntimeError("memory is asked for while a stream captures, and not from a pool of the graph's own")
    if inplace:
        recording[-1].append((compute, ()))
        return None
    with np.errstate(all="ignore"):
        place = np.array(compute())  # of the right shape
    place[...] = np.nan if place.dtype.kind == "f" else 0  # the numbers come with each launch
    recording[-1].append((lambda: place.__setitem__(..., compute()), ()))
    return ndarray(place)


def recorded(function):
    """What a captured graph can hold: done now, or remembered for each launch of the graph."""

    def call(*args):
        if recording:
            recording[-1].append((function, args))
        else:
            function(*args)

    return call


@contextmanager
def using_allocator(allocator):
    pools.append(allocator)
    try:
        yield
    finally:
        pools.pop()


class Stream:
    """Records between begin_capture and end_capture; a launch of the graph does it all."""

    def __init__(self, null=False, non_blocking=False):
        self.capturing, self.ptr, self.met = None, 0 if null else id(self), []

    def __enter__(self):
        streams.append(self)
        return self

    def __exit__(self, *_):
        streams.pop()

    def is_capturing(self):
        return any(calls is self.capturing for calls in recording)

    def begin_capture(self):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.capturing = []
        recording.append(self.capturing)

    def end_capture(self):
        calls, self.capturing = self.capturing, None
        recording[:] = [other for other in recording if other is not calls]
        return SimpleNamespace(launch=lambda stream=None: [function(*args) for function, args in calls], calls=calls)

    def synchronize(self):
        leave("synchronize")

    def wait_event(self, event):
        self.met.append(("wait", event))

    def record(self, event=None):
        self.met.append(("record", event))
        return event if event is not None else Event()


class MemoryPool:
    """Where memory for a graph comes from; ``freed`` counts how often idle memory was given back."""

    freed = 0

    def malloc(self, size):
        raise NotImplementedError

    def free_all_blocks(self):
        if recording:
            raise RuntimeError("memory is given back while a stream captures")
        self.freed += 1

    def total_bytes(self):
        return 0

    free_bytes = total_bytes


class Event:
    """A point in time, by a clock that only moves when a test moves it."""

    now = 0.0

    def __init__(self, disable_timing=False):
        pass

    def record(self, stream=None):
        self.time = Event.now

    def synchronize(self):
        pass


def poisoned(shape, dtype=float, **_):
    """Fresh memory: nobody may count on what is in it."""
    if recording and not pools:
        raise RuntimeError("memory is asked for while a stream captures, and not from a pool of the graph's own")
    return ndarray(np.full(shape, poison(np.dtype(dtype)), dtype))


def poison(dtype):
    return np.nan if dtype.kind == "f" else dtype.type(171)


def poisoned_like(a):
    fresh = np.empty_like(a._array)
    fresh[...] = poison(fresh.dtype)
    return ndarray(fresh)


def door(a, dtype=None, **_):
    """From the host to the device, or a copy on the device."""
    if isinstance(a, ndarray):
        return lifted(np.array)(a, dtype)
    if recording:
        raise RuntimeError("an array of the host is asked for while a stream captures")
    return ndarray(np.array(a, dtype))


emulate.Function.through = staticmethod(recorded)
launched = emulate.RawModule.launched


def module() -> ModuleType:
    """A module that answers to ``import cupy``."""
    cupy = ModuleType("cupy")
    cupy.ndarray = ndarray
    cupy.array = cupy.asarray = door
    cupy.asnumpy = lambda a: a.get()
    cupy.empty, cupy.empty_like, cupy.RawModule = poisoned, poisoned_like, emulate.RawModule

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

        id, compute_capability, attributes = 0, "90", {"MultiProcessorCount": 132}

        def synchronize(self):
            leave("synchronize")

    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.Device, cupy.cuda.Stream, cupy.cuda.using_allocator = Device, Stream, using_allocator
    cupy.cuda.runtime = SimpleNamespace(getDevice=lambda: 0, getDeviceProperties=lambda number: {"name": b"no GPU"})
    cupy.cuda.MemoryPool = MemoryPool
    common = MemoryPool()
    cupy.get_default_memory_pool = lambda: common
    cupy.cuda.is_available = lambda: True
    cupy.cuda.Event, cupy.cuda.get_elapsed_time = Event, lambda start, stop: stop.time - start.time
    default = Stream(null=True)
    cupy.cuda.get_current_stream = lambda: streams[-1] if streams else default
    cupy.cuda.Memory = lambda size: SimpleNamespace(ptr=2**20, size=size)
    cupy.cuda.device = SimpleNamespace(get_cublas_handle=lambda: 0, get_device_id=lambda: 0)
    return cupy


MODULE = module()


@contextmanager
def installed(kernels=False):
    """``import cupy`` means the stand-in inside the block, with its lists emptied.

    Without ``kernels`` the references run, and give the host's results bit for bit.
    """
    found = {"cupy": MODULE, "cupy.cuda": MODULE.cuda, **blas.modules()}
    before = {name: sys.modules.get(name) for name in found}
    sys.modules.update(found)  # mock.patch.dict would forget what is imported meanwhile
    try:
        with (
            references(not kernels),
            mock.patch(f"{__name__}.kernels_run", kernels),
            mock.patch("npresnet.kernels.gpu.blas.library", lambda: blas.Library(recorded)),
        ):
            transfers.clear()
            launched.clear()
            yield MODULE
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@contextmanager
def references(only):
    if not only:
        yield
        return
    with mock.patch("npresnet.backend.dispatch.backend_of", lambda x: "numpy"):
        yield
