"""CUDA kernels through CuPy, channels last in memory.  Importing this registers those that stand in for ops.

    types.cuh          the types of arrays and of sums, packs of 16 bytes
    *.cu               the kernels
    launch             compiling and launching them; which arrays they support
    blas, product      matrix products through cuBLAS
    im2col             the columns of a convolution, of a part of the batch at a time
    tiles              the tiles of products whose columns do not lie in memory, and their launches
    implicit_gemm, filter_gradient   Y and dX, and dW, by such products
    conv, norm, affine, pool, activation, linear, loss, optimizer: ops with their pullbacks

Arrays are float16, bfloat16, float32 or float64; sums are taken in float32, or in float64 for float64.
"""

from . import activation, affine, conv, linear, loss, norm, optimizer, pool

__all__ = ["activation", "affine", "conv", "linear", "loss", "norm", "optimizer", "pool"]
