"""A pretended GPU and its cuBLAS, on memory of the host, for CuPy to call (see pretended.py).

Nothing is fast, and nothing happens at the same time: work is done when it is asked for, in that order.  A stream that
captures refuses what CUDA's refuses, and a little more.
"""

import ctypes
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np
from cupy_backends.cuda.api.runtime import CUDARuntimeError

from . import blas, emulate

UNSUPPORTED, INVALIDATED, ISOLATION, CAPTURED_EVENT = 900, 901, 905, 907  # CUDA's errors of captures
ATTRIBUTES = {75: 9, 76: 0, 16: 132, 1: 1024}  # 9.0, multiprocessors, the largest block
ON_DEVICE = (3, 4)  # kinds of copies: on the device, or as the addresses say
SHARED_MEMORY = 8  # the attribute of a function: how much it may ask for


class GPU:
    """Its methods are named as CuPy names the functions of CUDA's runtime and driver."""

    def __init__(self):
        self._handles, self._memory, self._events, self._graphs = count(2**12, 16), {}, {}, {}
        self._modules, self._functions = {}, {}
        self._stream, self._work, self._broken = None, [], False  # which one captures, what, and whether in vain

    def _enqueue(self, stream, function, *args):
        """Do it, or make it a part of the graph."""
        if self._stream is None:
            function(*args)
        elif stream == self._stream:
            self._work.append((function, args))
        else:
            raise NotImplementedError(f"work on stream {stream} while stream {self._stream} captures")

    def _wait(self, *_):
        """The host waits, which spoils a capture."""
        if self._stream is not None:
            self._broken = True
            raise CUDARuntimeError(UNSUPPORTED)

    def _new(self, *_):
        return next(self._handles)

    def getDevice(self, *_):
        return 0

    _ensure_context = setDevice = pointerGetMemoryType = streamDestroy = moduleUnload = getDevice

    def getDeviceCount(self):
        return 1

    def driverGetVersion(self):
        return 13000

    def getDeviceProperties(self, number):
        return {"name": b"pretended GPU", "major": 9, "minor": 0, "multiProcessorCount": 132, "warpSize": 32}

    def deviceGetAttribute(self, attribute, number):
        return ATTRIBUTES.get(attribute, 0)

    def memGetInfo(self):
        return 80 * 2**30, 80 * 2**30

    # --- memory ----------------------------------------------------------------------------------------------------

    def malloc(self, size, *_):
        """Fresh memory is NaN, whatever it is read as.  CuPy's mode of capturing allows to ask for it meanwhile."""
        buffer = np.full(size + 512, 0xFF, np.uint8)
        address = buffer.ctypes.data + -buffer.ctypes.data % 512
        self._memory[address] = buffer
        return address

    def free(self, address):
        del self._memory[address]

    hostAlloc, freeHost = malloc, free

    def memcpy(self, to, source, size, kind):
        self._wait()
        ctypes.memmove(to, source, size)

    def memcpyAsync(self, to, source, size, kind, stream):
        if self._stream is not None and kind not in ON_DEVICE:
            raise NotImplementedError("a graph would copy what the host has in that place when it is launched")
        self._enqueue(stream, ctypes.memmove, to, source, size)

    def memset(self, to, value, size):
        self._wait()
        ctypes.memset(to, value, size)

    def memsetAsync(self, to, value, size, stream):
        self._enqueue(stream, ctypes.memset, to, value, size)

    # --- streams, events and graphs --------------------------------------------------------------------------------

    deviceSynchronize = streamSynchronize = _wait
    streamCreate = streamCreateWithFlags = streamCreateWithPriority = eventCreateWithFlags = _new

    def streamIsCapturing(self, stream):
        return stream == self._stream

    def streamBeginCapture(self, stream):
        self._wait()
        self._stream, self._work, self._broken = stream, [], False

    def streamEndCapture(self, stream):
        if stream != self._stream:
            raise NotImplementedError(f"stream {stream} ends what stream {self._stream} began")
        self._stream, graph = None, self._new()
        if self._broken:
            raise CUDARuntimeError(INVALIDATED)
        self._graphs[graph] = self._work
        return graph

    def graphInstantiate(self, graph):
        ready = self._new()
        self._graphs[ready] = self._graphs[graph]
        return ready

    def graphLaunch(self, graph, stream):
        self._enqueue(stream, lambda: [function(*args) for function, args in self._graphs[graph]])

    def graphDestroy(self, graph):
        del self._graphs[graph]

    graphExecDestroy = graphDestroy

    def eventRecord(self, event, stream):
        self._events[event] = None if self.streamIsCapturing(stream) else perf_counter()

    def eventSynchronize(self, event):
        if self._events.get(event, 0) is None:
            raise CUDARuntimeError(CAPTURED_EVENT)
        return 0

    eventQuery = eventSynchronize

    def streamWaitEvent(self, stream, event):
        """What it waits for has happened; the work of a graph knows that of no other stream."""
        if self.streamIsCapturing(stream) != (self._events.get(event, 0) is None):
            raise CUDARuntimeError(ISOLATION)

    def eventElapsedTime(self, start, stop):
        return 1e3 * (self._events[stop] - self._events[start])

    def eventDestroy(self, event):
        self._events.pop(event, None)

    # --- kernels ---------------------------------------------------------------------------------------------------

    def moduleLoadData(self, code):
        """``code`` is the source, and the compiler's options."""
        module = self._new()
        self._modules[module] = library(*code.decode().split("\0"))
        return module

    def moduleGetFunction(self, module, name):
        function = self._new()
        self._functions[function] = [self._modules[module], name, emulate.STATIC]
        return function

    def funcSetAttribute(self, function, attribute, value):
        if attribute != SHARED_MEMORY:
            raise NotImplementedError(f"attribute {attribute} of a kernel")
        self._functions[function][2] = value

    def launchKernel(self, function, x, y, z, width, height, depth, shared, stream, args, _):
        kernels, name, most = self._functions[function]
        if z > 1 or depth > 1:
            raise NotImplementedError(f"{name}: a grid or a block of three dimensions")
        if shared > most:
            raise ValueError(f"{name}: {shared} bytes of shared memory are more than it may ask for")
        sizes, places = (ctypes.c_int * 64)(), (ctypes.c_void_p * 64).from_address(args)
        getattr(kernels, f"sizes_{name}")(sizes)
        values = [np.void(ctypes.string_at(place, size)) for place, size in zip(places, sizes) if size]
        self._enqueue(stream, emulate.launch, kernels, name, (x, y), (width, height), values, shared)


def library(source, *options):
    """The kernels of a source as C++: ours as ever, and CuPy's with CuPy's headers."""
    if "#include <cupy/" not in source:
        return emulate.build(source, emulate.defined(options))
    folder = Path(find_spec("cupy").origin).parent / "_core/include"
    barriers = emulate.KERNEL.findall(source) if "__syncthreads" in source else ()
    source = source.replace("#include <cupy/complex.cuh>", "")
    return emulate.build(source, ["-w", "-O1", f"-I{folder}"], "cupy.h", barriers)


class Products(blas.Library):
    """cuBLAS, as far as CuPy and npresnet call it; each method has the types of its arguments in C."""

    types = {
        "cublasCreate_v2": "void *",
        "cublasDestroy_v2": "void *",
        "cublasSetStream_v2": "void *, void *",
        "cublasSetMathMode": "void *, int",
        "cublasSetWorkspace_v2": "void *, void *, size_t",
        "cublasGemmEx": "void *, int, int, int, int, int, void *, void *, int, int, void *, int, int, void *, "
        "void *, int, int, int, int",
        "cublasGemmStridedBatchedEx": "void *, int, int, int, int, int, void *, void *, int, int, long, void *, "
        "int, int, long, void *, void *, int, int, long, int, int, int",
    }

    def __init__(self, gpu):
        super().__init__(self.enqueued)
        self.gpu, self.stream, self.room = gpu, 0, False

    def cublasCreate_v2(self, place):
        ctypes.c_void_p.from_address(place).value = 1
        return 0

    def cublasDestroy_v2(self, handle):
        return 0

    def cublasSetMathMode(self, handle, mode):
        return 0

    def cublasSetStream_v2(self, handle, stream):
        self.stream, self.room = stream, False
        return 0

    def cublasSetWorkspace_v2(self, handle, memory, size):
        self.room = True
        return super().cublasSetWorkspace_v2(handle, memory, size)

    def enqueued(self, product):
        assert self.room or not self.gpu.streamIsCapturing(self.stream), "cuBLAS would allocate memory for each graph"
        return lambda *args: self.gpu._enqueue(self.stream, product, *args)
