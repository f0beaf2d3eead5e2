"""cuBLAS's products, called in the library itself: CuPy's binding of them refuses to be captured into a graph.

CuPy has loaded the library, and keeps a handle for each thread and device; both are used here, on CuPy's stream.
"""

import ctypes
import sys
from functools import cache
from typing import Any

from ...backend import gpu

WORKSPACE = 2**25            # bytes that cuBLAS wants on Hopper; 2**22 before

INT, LONG, POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
MATRIX, STACK = (POINTER, INT, INT), (POINTER, INT, INT, LONG)                # memory, dtype, leading dimension, step
SIZES = (POINTER, INT, INT, INT, INT, INT, POINTER)                           # handle, flips, m, n, k, α
ARGUMENTS = {
    "cublasSetStream_v2": (POINTER, POINTER),
    "cublasSetWorkspace_v2": (POINTER, POINTER, ctypes.c_size_t),
    "cublasGemmEx": (*SIZES, *MATRIX, *MATRIX, POINTER, *MATRIX, INT, INT),
    "cublasGemmStridedBatchedEx": (*SIZES, *STACK, *STACK, POINTER, *STACK, INT, INT, INT),
}


@cache
def library() -> ctypes.CDLL:
    """The cuBLAS that CuPy's binding is linked to: a name is looked up in what a library depends on, too."""
    from cupy_backends.cuda.libs import cublas  # pyright: ignore[reportMissingImports]    # CuPy's
    found = ctypes.CDLL(cublas.__file__)
    for name, types in ARGUMENTS.items():
        getattr(found, name).argtypes = types
    return found


@cache
def workspace(device: int) -> Any:
    """Memory for the products in graphs, which run one after the other; cuBLAS would allocate some for each graph."""
    return gpu().cuda.Memory(WORKSPACE)


def call(name: str, *args: Any) -> None:
    """Call cuBLAS's function ``name`` on the current stream, or record it in the graph that the stream captures."""
    cuda = sys.modules["cupy"].cuda                                           # imported, since x is one of its arrays
    handle, stream, blas = cuda.device.get_cublas_handle(), cuda.get_current_stream(), library()
    check(blas.cublasSetStream_v2(handle, stream.ptr), name)                  # cuBLAS's own workspace again, too
    if stream.is_capturing():
        memory = workspace(cuda.device.get_device_id())
        check(blas.cublasSetWorkspace_v2(handle, memory.ptr, WORKSPACE), name)
    check(getattr(blas, name)(handle, *args), name)


def check(status: int, name: str) -> None:
    """Raise unless cuBLAS says that its function ``name`` succeeded."""
    if status:
        raise RuntimeError(f"{name} failed: cuBLAS's status is {status}")
