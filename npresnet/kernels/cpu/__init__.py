"""Numba kernels, channels last in memory, in float32.  Importing this registers those that stand in for ops.

    codegen/   what kernels are made of: vector instructions, tiles of a product, passes by channel; how machine code is
               compiled and kept on disk
    conv/      convolutions, one algorithm to a file, and the choice among them
    program/   the kernels as the engine runs them: a thread pool that walks through a whole network in one call
    threads    how many threads compute, and how they wait
    arrays     arrays in blocks that are used again
    channels   passes in which each channel has its own coefficients
    pool, pointwise

    conv/op, norm, activation, pooling, optimizer     what stands in for ops

A single image (N = 1) runs through the references: it is answered before the first kernel would be compiled.
"""

from .threads import prepare

prepare()                                                    # before anything imports Numba

from . import activation, norm, optimizer, pooling  # noqa: E402
from .conv import op  # noqa: E402

__all__ = ["activation", "norm", "op", "optimizer", "pooling"]
