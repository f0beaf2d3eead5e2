"""CUDA kernels through CuPy, channels last in memory.  Importing this registers those that stand in for ops.

    types.cuh          what arrays hold, what sums are taken in, packs of 16 bytes
    *.cu               the kernels
    launch             compiling and launching them
    blas, product      matrix products through cuBLAS
    im2col             what a convolution multiplies, a part of the batch at a time
    tiles              products without columns in memory: what a block makes of them
    implicit_gemm, filter_gradient   Y and dX, and dW, made so
    conv, norm, affine, pool, activation, linear, loss, optimizer: ops with their pullbacks

Arrays are float16, bfloat16, float32 or float64; sums are taken in float32, or in float64 for float64.
"""

from . import activation, affine, conv, linear, loss, norm, optimizer, pool

__all__ = ["activation", "affine", "conv", "linear", "loss", "norm", "optimizer", "pool"]
