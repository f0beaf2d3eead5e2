"""cuBLAS's products, called in the library itself: CuPy's binding of them refuses to be captured into a graph.

CuPy has loaded the library, and keeps a handle for each thread and device; both are used here, on CuPy's stream.
"""

import ctypes
from functools import cache

from ...backend import gpu

WORKSPACE = 2**25            # bytes that cuBLAS wants on Hopper; 2**22 before

INT, LONG, AT = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
MATRIX, PLACE = (AT, INT, INT), (AT, INT, INT, LONG)                          # memory, dtype, leading dimension, step
SIZES = (AT, INT, INT, INT, INT, INT, AT)                                     # handle, flips, m, n, k, α
ARGUMENTS = {
    "cublasSetStream_v2": (AT, AT),
    "cublasSetWorkspace_v2": (AT, AT, ctypes.c_size_t),
    "cublasGemmEx": (*SIZES, *MATRIX, *MATRIX, AT, *MATRIX, INT, INT),
    "cublasGemmStridedBatchedEx": (*SIZES, *PLACE, *PLACE, AT, *PLACE, INT, INT, INT),
}


@cache
def library():
    """The cuBLAS that CuPy's binding is linked to: a name is looked up in what a library depends on, too."""
    from cupy_backends.cuda.libs import cublas
    found = ctypes.CDLL(cublas.__file__)
    for name, types in ARGUMENTS.items():
        getattr(found, name).argtypes = types
    return found


@cache
def workspace(device):
    """Room for the products in graphs, which run one after the other; cuBLAS would give each graph room of its own."""
    return gpu().cuda.Memory(WORKSPACE)


def call(name, *args):
    """A product on the current stream, or a part of the graph that the stream captures."""
    from cupy import cuda
    handle, stream, blas = cuda.device.get_cublas_handle(), cuda.get_current_stream(), library()
    check(blas.cublasSetStream_v2(handle, stream.ptr), name)                  # cuBLAS's own workspace again, too
    if stream.is_capturing():
        room = workspace(cuda.device.get_device_id())
        check(blas.cublasSetWorkspace_v2(handle, room.ptr, WORKSPACE), name)
    check(getattr(blas, name)(handle, *args), name)


def check(status, name):
    if status:
        raise RuntimeError(f"{name} failed: cuBLAS's status is {status}")
