"""Numba kernels, channels last in memory, in float32.  Importing this registers those that stand in for ops.

    vector      vector instructions, addresses
    tile        one register tile of a matrix product, with bias, residual and ReLU
    transform   a small constant matrix on both sides of a tile
    product     1x1 convolutions and linear layers
    band        convolutions with any window, and the stem with its pooling
    winograd    3x3 convolutions of stride 1
    grouped     3x3 convolutions of narrow groups
    slide       3x3 convolutions of few channels
    gradient, slide_gradient    what the filters of a convolution receive
    channels, lines     passes in which each channel has its own coefficients
    memory      arrays in blocks that are used again
    threads, compiled, entries     how many threads, how they wait; how kernels are compiled and kept on disk
    pool, pointwise, pack, repack, choose

    items, team     the kernels as the engine runs them: a whole network in one call
    conv (forward, backward), norm, activation, pooling, step     what stands in for ops

A single image (N = 1) runs through the references: it is answered before the first kernel would be compiled.
"""

from .threads import prepare

prepare()                                                    # before anything imports Numba

from . import activation, norm, pooling, optimizer as step
from .conv import op as conv  # noqa: E402

__all__ = ["activation", "conv", "norm", "pooling", "step"]
