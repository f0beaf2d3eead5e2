"""Pooling levels of 8 bits: :mod:`npresnet.ops.quantized_pool`."""

import numpy as np

from ..codegen.jit import inlined
from ..codegen.vector import octets
from ..pool import make_pool_rows
from ..program.entry_point import Address, Shape, Shared, Sides, entry_point
from .rounding import clamped

pool_rows = make_pool_rows(octets, 1, np.uint8(0))


@entry_point
def max_pool(item, work, x: Address, shape: Shape, window: Sides, y: Address, out_shape: Shape):
    """A row of :func:`npresnet.ops.quantized_max_pool2d`."""
    (_, h, w, c), (_, oh, ow, _) = shape, out_shape
    image, p = item // oh, item % oh
    pool_rows(x + image * h * w * c, h, w, c, window, y + image * oh * ow * c, ow, p, p + 1)


@entry_point
def mean(image, work, x: Address, pixels: int, channels: int, zero: int, y: Address):
    """One image of :func:`npresnet.ops.quantized_mean`: clamp(round((Σ q − H W z) · 1/(H W)) + z)."""
    total = np.zeros(channels, np.int32)
    for pixel in range(pixels):
        _accumulate(octets(x + (image * pixels + pixel) * channels, channels), total)
    share, out = np.float32(1) / np.float32(pixels), octets(y + image * channels, channels)
    for k in range(channels):
        level = np.rint(np.float32(total[k] - pixels * zero) * share)
        out[k] = clamped(level + np.float32(zero), np.float32(0), np.float32(255))


@inlined
def _accumulate(values, total):
    for k in range(len(total)):
        total[k] += values[k]
