"""Matrix products through cuBLAS, whose matrices lie column by column: C = A B there is Cᵀ = Bᵀ Aᵀ here.

Products of float16 and bfloat16 add up in float32.  Those of float32 are exact to float32 unless TF32 is asked for
(:func:`npresnet.backend.tf32`), which reads 10 bits of each factor's mantissa.
"""

from typing import Any

import numpy as np

from ...backend import Array, array_namespace
from .blas import call

CODES = {"float16": 2, "bfloat16": 14, "float32": 0, "float64": 1}     # CUDA_R_16F and so on
SUMS_32, SUMS_32_OF_TF32, SUMS_64 = 68, 77, 70                         # CUBLAS_COMPUTE_32F and so on
DEFAULT = -1                                                           # CUBLAS_GEMM_DEFAULT
FACTORS = {kind: [np.array(number, kind) for number in (0, 1)] for kind in (np.float32, np.float64)}
ADDRESSES = {kind: [factor.ctypes.data for factor in factors] for kind, factors in FACTORS.items()}   # α and β, 0 or 1


def product(a: Any, b: Any, out: Any, *, accumulate: bool = False, tf32: bool = False) -> Array:
    """out ← a b, or out ← out + a b:  (…, M, K) (…, K, N) → (…, M, N), alone or a stack of them.

    Each matrix has one axis without gaps; ``out`` the last one.  ``out`` may be float32 where a and b are smaller.
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    zero, one = ADDRESSES[np.float64 if a.dtype == np.float64 else np.float32]
    beta = one if accumulate else zero
    (flip_b, ld_b, step_b), (flip_a, ld_a, step_a), (_, ld_out, step_out) = layout(b), layout(a), layout(out)
    code, code_out = CODES[a.dtype.name], CODES[out.dtype.name]
    left, right = (b.data.ptr, code, ld_b), (a.data.ptr, code, ld_a)
    to = (out.data.ptr, code_out, ld_out)
    how, head = (compute_type(a.dtype, tf32), DEFAULT), (flip_b, flip_a, n, m, k, one)
    if out.ndim == 2:
        call("cublasGemmEx", *head, *left, *right, beta, *to, *how)
    else:
        call("cublasGemmStridedBatchedEx", *head, *left, step_b, *right, step_a, beta, *to, step_out,
             len(out), *how)
    return out


def layout(a: Array) -> tuple[int, int, int]:
    """(1 if its columns have no gaps, its leading dimension, the elements from one matrix of a stack to the next)."""
    *stack, down, across = (stride // a.itemsize for stride in a.strides)
    rows, columns = a.shape[-2:]
    step = stack[0] if stack else 0
    if across == 1 or (columns == 1 and down != 1):
        return 0, max(down, columns), step
    if down != 1 and rows != 1:
        raise ValueError(f"a matrix of shape {a.shape} and strides {a.strides} has gaps along both axes")
    return 1, max(across, rows), step


def compute_type(dtype: np.dtype, tf32: bool) -> int:
    """cuBLAS's number for the arithmetic of a product of this dtype."""
    if dtype == np.float64:
        return SUMS_64
    return SUMS_32_OF_TF32 if tf32 and dtype == np.float32 else SUMS_32


def matmul(a: Array, b: Array, tf32: bool = False) -> Array:
    """The product a b in a new array."""
    return product(a, b, array_namespace(a, b).empty((*a.shape[:-1], b.shape[-1]), a.dtype), tf32=tf32)
