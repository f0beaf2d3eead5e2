"""Numba kernels: the steps of the engine, channels last, in float32.

    vector      vector instructions, addresses
    tile        one register tile of a matrix product, with bias, residual and ReLU
    transform   a small constant matrix on both sides of a tile
    product     1x1 convolutions and linear layers
    band        convolutions with any window, and the stem with its pooling
    winograd    3x3 convolutions of stride 1
    pool, pointwise, pack
"""
