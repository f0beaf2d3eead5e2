"""Stand-ins for cuBLAS's general matrix products, on memory of the host: column by column, as cuBLAS reads it."""

import ctypes
from types import ModuleType

import numpy as np

DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}
COMPUTE = {68: np.float32, 77: np.float32, 70: np.float64}


def matrix(address, code, rows, columns, ld, flip=0):
    """The (rows, columns) matrix that op(A) means, as a view: A's columns are ``ld`` apart."""
    dtype = np.dtype(DTYPES[code])
    if flip:
        return matrix(address, code, columns, rows, ld).T
    assert ld >= max(1, rows), f"a leading dimension of {ld} for {rows} rows"
    count = ld * (columns - 1) + rows
    memory = np.ctypeslib.as_array((ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)).view(dtype)
    return np.lib.stride_tricks.as_strided(memory, (rows, columns), (dtype.itemsize, ld * dtype.itemsize))


def gemm_ex(
    handle, flip_a, flip_b, m, n, k, alpha, a, code_a, ld_a, b, code_b, ld_b, beta, c, code_c, ld_c, compute, algorithm
):
    out, narrowed = matrix(c, code_c, m, n, ld_c), tf32 if compute == 77 else np.asarray
    x, y = matrix(a, code_a, m, k, ld_a, flip_a), matrix(b, code_b, k, n, ld_b, flip_b)
    value = narrowed(x.astype(COMPUTE[compute])) @ narrowed(y.astype(COMPUTE[compute]))
    out[...] = alpha * value + (beta * out if beta else 0)  # with β = 0, C is not read


def tf32(x):
    """float32, rounded to the 10 bits of its mantissa that the tensor cores read."""
    rounded = (x.view(np.uint32) + np.uint32(0x1000) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(x), rounded, x)


def gemm_strided_batched_ex(
    handle,
    flip_a,
    flip_b,
    m,
    n,
    k,
    alpha,
    a,
    code_a,
    ld_a,
    skip_a,
    b,
    code_b,
    ld_b,
    skip_b,
    beta,
    c,
    code_c,
    ld_c,
    skip_c,
    batch,
    compute,
    algorithm,
):
    sizes = [np.dtype(DTYPES[code]).itemsize for code in (code_a, code_b, code_c)]
    for i in range(batch):
        at = [p + i * skip * size for p, skip, size in zip((a, b, c), (skip_a, skip_b, skip_c), sizes)]
        gemm_ex(
            handle,
            flip_a,
            flip_b,
            m,
            n,
            k,
            alpha,
            at[0],
            code_a,
            ld_a,
            at[1],
            code_b,
            ld_b,
            beta,
            at[2],
            code_c,
            ld_c,
            compute,
            algorithm,
        )


def factor(address, compute):
    """α or β, which cuBLAS reads from the host when it is called."""
    kind = np.ctypeslib.as_ctypes_type(COMPUTE[compute])
    return kind.from_address(address).value


class Library:
    """The library itself, as npresnet.kernels.gpu.blas calls it; ``recorded`` wraps what a graph can hold."""

    def __init__(self, recorded):
        self.recorded = recorded

    def cublasSetStream_v2(self, handle, stream):
        return 0

    def cublasSetWorkspace_v2(self, handle, memory, size):
        assert memory % 256 == 0 and size >= 2**22, "cuBLAS wants room in pieces of 256 bytes"
        return 0

    def cublasGemmEx(self, *args):
        return self._product(gemm_ex, 13, args)

    def cublasGemmStridedBatchedEx(self, *args):
        return self._product(gemm_strided_batched_ex, 15, args)

    def _product(self, function, beta, args):
        args = list(args)
        for place in (6, beta):
            args[place] = factor(args[place], args[-2])
        self.recorded(function)(*args)
        return 0


def modules() -> dict:
    """What is imported from cupy_backends, by name."""
    names = ["cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.libs", "cupy_backends.cuda.libs.cublas"]
    found = {name: ModuleType(name) for name in names}
    found[names[2]].cublas = found[names[3]]
    return found
