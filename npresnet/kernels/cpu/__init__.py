"""Numba kernels, channels last in memory, in float32.  Importing this registers those that equal an op.

    codegen/   what kernels are made of: vector instructions, tiles of a product, passes by channel; how machine code is
               compiled and kept on disk
    conv/      convolutions, one algorithm to a file, and the cost model that chooses one
    program/   the kernels as the engine runs them: a thread pool that runs a whole network in one call
    threads    how many threads compute, and how they wait
    arrays     arrays in blocks of memory that are used again
    layout     channels first and channels last
    channels   passes in which each channel has its own coefficients
    pointwise  the engine's small steps

    conv/op, norm, group_norm, activation, smooth, pool, optimizer     what is registered with ops

Functions for Numba alone have no annotations: a name for an array is its address (int64), ``shape`` and the like are
tuples of int64, ``floor`` is a float32.

A single image (N = 1) runs through the references: it is answered before the first kernel would be compiled.
"""

from .threads import prepare

prepare()                                                    # before anything imports Numba

from . import activation, group_norm, norm, optimizer, pool, smooth  # noqa: E402
from .conv import op  # noqa: E402

__all__ = ["activation", "group_norm", "norm", "op", "optimizer", "pool", "smooth"]
