"""The columns X̃ of images, channels last: gathered, scattered back, and the views that products read.

A row of X̃ is what one output pixel sees of one group, so X̃ is (G, N·oh·ow, kh·kw·C/G).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...backend import Array, array_namespace
from ...ops.window import Window
from .launch import MAX_THREADS, launch_each, pack_size, pack_width

WORKSPACE = 2**25                # bytes of columns at a time: they stay in the L2 cache of an A100 or H100


class Columns(NamedTuple):
    """The geometry of X̃ for images of ``shape`` (N, C, H, W)."""

    window: Window
    shape: tuple[int, int, int, int]
    groups: int

    @property
    def size(self) -> tuple[int, int]:
        """(oh, ow) of the outputs."""
        return self.window.output_size(self.shape[2:])

    @property
    def depth(self) -> int:
        """The columns of X̃ for one group."""
        return self.window.kernel[0] * self.window.kernel[1] * self.shape[1] // self.groups

    @property
    def pointwise(self) -> bool:
        """Whether X̃ is the images themselves: a 1×1 kernel of stride 1 without padding."""
        window = self.window
        return window.kernel == window.stride == (1, 1) and not any(sum(window.padding, ()))

    def padded(self, dtype: np.dtype) -> "Columns":
        """These columns for images whose channels are whole packs, as :func:`padded_channels` makes them."""
        n, channels, *size = self.shape
        return self._replace(shape=(n, channels + missing_channels(channels, dtype) * (self.groups == 1), *size))

    def transposed(self, filters: int) -> "Columns":
        """The columns of dY (N, F, oh, ow) in whose convolution dX results, for stride 1.

        Output p reads pixel p + i·dh − top by tap i; so pixel r is read by the outputs r + top − i·dh, and in the
        transposed convolution, where tap k − 1 − i stands for i, its window begins d (k − 1) − top before r.
        """
        kernel, stride, padding, dilation = self.window
        down, across = ((d * (k - 1) - before, d * (k - 1) - after)
                        for k, (before, after), d in zip(kernel, padding, dilation))
        window = Window(kernel, stride, (down, across), dilation)
        return Columns(window, (self.shape[0], filters, *self.size), self.groups)

    def parts(self, itemsize: int) -> list[slice]:
        """Parts of the batch whose columns fit the workspace: all of it where there are none."""
        n, (oh, ow) = self.shape[0], self.size
        image = oh * ow * self.depth * self.groups
        step = n if self.pointwise else max(1, min(WORKSPACE // (image * itemsize), MAX_THREADS // image))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def workspace(self, like: Array, parts: list[slice], empty: Callable[..., Array] | None = None) -> Array | None:
        """An array for the columns of the largest part, from ``empty(shape, dtype)``; None where none are gathered."""
        if self.pointwise:
            return None
        (oh, ow), allocate = self.size, empty or array_namespace(like).empty
        return allocate(((parts[0].stop - parts[0].start) * oh * ow, self.groups * self.depth), like.dtype)

    def numbers(self, width: int) -> tuple[int, ...]:
        """The kernels' arguments about channels, in packs of ``width``, and the window."""
        (_, c, h, w), (kernel, stride, padding, dilation) = self.shape, self.window
        return (c // width, c // self.groups // width, h, w, *self.size, *kernel, *stride, *dilation, padding[0][0],
                padding[1][0])

    def gather(self, x: Array, workspace: Array | None) -> Array:
        """X̃ of images (n, H, W, C), in the workspace, as (G, n·oh·ow, kh·kw·C/G)."""
        oh, ow = self.size
        rows = len(x) * oh * ow
        if workspace is not None:
            width = pack_width(x.dtype, self.shape[1] // self.groups, x, workspace)
            launch_each("im2col", (x, workspace), self.numbers(width), rows * self.shape[1] // width, width)
            x = workspace[:rows]
        return x.reshape(rows, self.groups, self.depth).swapaxes(0, 1)

    def scatter(self, workspace: Array, dx: Array) -> None:
        """Write dX (n, H, W, C) from the dX̃ in the workspace."""
        width = pack_width(dx.dtype, self.shape[1] // self.groups, dx, workspace)
        launch_each("col2im", (workspace, dx), self.numbers(width), dx.size // width, width)


def matrix(w: Array, groups: int) -> Array:
    """Filters (F, C/G, kh, kw) → (G, F/G, kh·kw·C/G); no copy where the kernel is 1×1."""
    f = len(w)
    return array_namespace(w).ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(groups, f // groups, -1)


def missing_channels(channels: int, dtype: np.dtype) -> int:
    """How many channels of zeros fill the last pack."""
    return -channels % pack_size(dtype)


def padded_channels(a: Array, channels: int | None = None) -> Array:
    """a with zeros up to whole packs after the channels of its last axis, or after every ``channels`` in it."""
    size = channels or a.shape[-1]
    more, pixels = missing_channels(size, a.dtype), a.reshape(*a.shape[:-1], -1, size)
    if not more:
        return a
    padded = array_namespace(a).pad(pixels, [(0, 0)] * (pixels.ndim - 1) + [(0, more)])
    return padded.reshape(*a.shape[:-1], -1)


def transposed_filters(w: Array, groups: int) -> Array:
    """Filters (F, C/G, kh, kw) rotated by 180°, from outputs to inputs: (G, C/G, kh·kw·F/G)."""
    f, c, kh, kw = w.shape
    w = w.reshape(groups, f // groups, c, kh, kw)[..., ::-1, ::-1]
    return array_namespace(w).ascontiguousarray(w.transpose(0, 2, 3, 4, 1)).reshape(groups, c, -1)


def grouped(y: Array, groups: int) -> Array:
    """Images (n, oh, ow, F) → (G, n·oh·ow, F/G), a view."""
    return y.reshape(-1, groups, y.shape[3] // groups).swapaxes(0, 1)


def unstacked(stack: Array) -> Array:
    """The matrix of a stack of one; a larger stack as it is."""
    return stack[0] if len(stack) == 1 else stack
