"""A step of a plan: a kernel with its arguments, or a call; and what lies in memory as an array."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...kernels.cpu.program.entry_point import EntryPoint
from ..graph import Node
from ..shapes import Image


@dataclass
class Step:
    """One node's work on some images.

    ``arguments(n, x, y, residual)`` for n images at these addresses are what the kernel reads, in a row, ``x`` first,
    see :mod:`npresnet.kernels.cpu.program.entry_point`; ``items(n)`` is how many work items that makes, ``work_bytes``
    what each thread needs for them.  A step without a kernel is computed by ``compute(n, x, y)``.
    """

    node: Node
    algorithm: str
    x: Image
    y: Image
    kernel: EntryPoint | None = None
    arguments: Callable | None = None
    items: Callable | None = None
    compute: Callable | None = None
    work_bytes: int = 0
    macs: int = 0


def stored(n, image) -> tuple:
    return n, image.height, image.width, image.stored


def read(where, n, image, channels_first=False) -> np.ndarray:
    """The images at an address as a fresh (N, C, H, W) or (N, C) array: float32, bits of bfloat16, or levels."""
    channels, size = image.channels, (image.height, image.width)
    shape = (n, channels, *size) if channels_first else (n, *size, image.stored)
    stored = _view(where, shape, image)
    if channels_first:
        return stored.copy()
    if image.flat:
        return stored[:, 0, 0, : image.channels].copy()
    return stored[..., : image.channels].transpose(0, 3, 1, 2).copy()


def write(array, where, image):
    """Store (N, C, H, W) or (N, C) channels last, the channels beyond C zero."""
    stored = _view(where, (len(array), image.height, image.width, image.stored), image)
    stored[...] = 0
    stored[..., : image.channels] = array.reshape(len(array), image.channels, image.height, image.width).transpose(
        0, 2, 3, 1
    )


def _view(where, shape, image) -> np.ndarray:
    import ctypes

    kind, count = {8: ctypes.c_uint8, 16: ctypes.c_uint16, 32: ctypes.c_float}[image.bits], int(np.prod(shape))
    return np.ctypeslib.as_array((kind * count).from_address(where)).reshape(shape)
