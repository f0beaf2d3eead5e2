"""Images in their two orders in memory: ops speak of (N, C, H, W), the kernels of (N, H, W, C)."""

import numpy as np

from ...backend import Array, must_run_each_time
from .arrays import empty


def channels_last(x: Array) -> Array:
    """Images (N, C, H, W) as a contiguous (N, H, W, C): a copy only where the memory is in another order."""
    x = x.transpose(0, 2, 3, 1)
    if not x.flags.c_contiguous:
        must_run_each_time("images in another order in memory")
        x, source = empty(x.shape, x.dtype), x
        x[...] = source
    return x


def contiguous(x: Array) -> Array:
    """x, or a copy where its memory has gaps or another order."""
    if not x.flags.c_contiguous:
        must_run_each_time("an array in another order in memory")
    return np.ascontiguousarray(x)


def channels_first(x: Array) -> Array:
    """Images (N, H, W, C) as (N, C, H, W), in the same memory."""
    return x.transpose(0, 3, 1, 2)
