"""Numba kernels, channels last in memory, in float32.  Importing this registers those that equal an op.

    codegen/   what kernels are made of: vector instructions, tiles of a product, passes by channel; how machine code is
               compiled and kept on disk
    conv/      convolutions, one algorithm to a file, and the cost model that chooses one
    program/   how kernels run: entry points, the thread pool that carries out a list of them in one call, and the
               process that compiles beside this one
    roof       what bounds all of them: a machine's multiply-adds, and its memory
    pullbacks  which kernels it compiles when a training begins
    threads    how many threads compute
    arrays     arrays in blocks of memory that are used again
    layout     channels first and channels last
    channels   passes in which each channel has its own coefficients
    pointwise  the engine's small steps

    conv/op, norm, group_norm, activation, smooth, pool, pad, linear, update     what is registered with ops

In functions for Numba a name for an array is its address (int64), ``shape`` and the like are tuples of int64, ``floor``
is a float32; those the thread pool runs, the entry points, are annotated.

A single image (N = 1) runs through the references: it is answered before the first kernel would be compiled.
"""

from . import activation, group_norm, linear, norm, pad, pool, smooth, update
from .conv import op
from .pullbacks import compile_pullbacks

__all__ = ["activation", "compile_pullbacks", "group_norm", "linear", "norm", "op", "pad", "pool", "smooth", "update"]
