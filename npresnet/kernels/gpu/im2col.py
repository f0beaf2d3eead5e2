"""The columns X̃ of images, channels last: gathered, scattered back, and the views that products read.

A row of X̃ is what one output pixel sees of one group, so X̃ is (G, N·oh·ow, kh·kw·C/G).
"""

from typing import NamedTuple

from ...backend import array_namespace
from ...ops.window import Window
from .launch import LARGEST, launch_each, pack, width_of

WORKSPACE = 2**25                # bytes of columns at a time: they stay in the L2 cache of an A100 or H100


class Columns(NamedTuple):
    """How X̃ is cut out of images (N, C, H, W)."""

    window: Window
    shape: tuple[int, int, int, int]
    groups: int

    @property
    def size(self) -> tuple[int, int]:
        return self.window.output_size(self.shape[2:])

    @property
    def depth(self) -> int:
        """The columns of X̃ for one group."""
        return self.window.kernel[0] * self.window.kernel[1] * self.shape[1] // self.groups

    @property
    def pointwise(self) -> bool:
        window = self.window
        return window.kernel == window.stride == (1, 1) and not any(sum(window.padding, ()))

    def whole(self, dtype) -> "Columns":
        """The same for images whose channels are whole packs, as :func:`in_packs` makes them."""
        n, channels, *size = self.shape
        return self._replace(shape=(n, channels + missing(channels, dtype) * (self.groups == 1), *size))

    def turned(self, filters) -> "Columns":
        """How dX of stride 1 is a convolution of dY (N, F, oh, ow): pixel r meets the outputs r + top − i·dh.

        With tap k − 1 − i for i, output p meets pixel p + i·dh − top: the window begins d (k − 1) − top before r.
        """
        kernel, stride, padding, dilation = self.window
        around = tuple((d * (k - 1) - before, d * (k - 1) - after)
                       for k, (before, after), d in zip(kernel, padding, dilation))
        return Columns(Window(kernel, stride, around, dilation), (self.shape[0], filters, *self.size), self.groups)

    def parts(self, itemsize) -> list[slice]:
        """Parts of the batch whose columns fit the workspace: all of it where there are none."""
        n, (oh, ow) = self.shape[0], self.size
        image = oh * ow * self.depth * self.groups
        step = n if self.pointwise else max(1, min(WORKSPACE // (image * itemsize), LARGEST // image))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def workspace(self, like, parts, empty=None):
        """Room for the columns of the largest part, from ``empty(shape, dtype)``; None where there are none."""
        (oh, ow), empty = self.size, empty or array_namespace(like).empty
        if self.pointwise:
            return None
        return empty(((parts[0].stop - parts[0].start) * oh * ow, self.groups * self.depth), like.dtype)

    def numbers(self, width) -> tuple[int, ...]:
        """What the kernels ask about the window."""
        (_, c, h, w), (kernel, stride, padding, dilation) = self.shape, self.window
        return (c // width, c // self.groups // width, h, w, *self.size, *kernel, *stride, *dilation, padding[0][0],
                padding[1][0])

    def gathered(self, x, room):
        """X̃ of images (n, H, W, C), in ``room``, as (G, n·oh·ow, kh·kw·C/G)."""
        oh, ow = self.size
        rows = len(x) * oh * ow
        if not self.pointwise:
            width = width_of(x.dtype, self.shape[1] // self.groups, x, room)
            launch_each("im2col", (x, room), self.numbers(width), rows * self.shape[1] // width, width)
            x = room[:rows]
        return x.reshape(rows, self.groups, self.depth).swapaxes(0, 1)

    def scattered(self, room, dx):
        """Write dX (n, H, W, C) from the dX̃ in ``room``."""
        width = width_of(dx.dtype, self.shape[1] // self.groups, dx, room)
        launch_each("col2im", (room, dx), self.numbers(width), dx.size // width, width)


def matrix(w, groups):
    """Filters (F, C/G, kh, kw) → (G, F/G, kh·kw·C/G); no copy where the kernel is 1×1."""
    f = len(w)
    return array_namespace(w).ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(groups, f // groups, -1)


def missing(channels, dtype) -> int:
    """How many are missing to whole packs."""
    return -channels % pack(dtype)


def in_packs(a, channels=None):
    """Rows of channels with zeros up to whole packs: of the last axis, or of every ``channels`` in it."""
    channels = channels or a.shape[-1]
    more, pixels = missing(channels, a.dtype), a.reshape(*a.shape[:-1], -1, channels)
    if not more:
        return a
    padded = array_namespace(a).pad(pixels, [(0, 0)] * (pixels.ndim - 1) + [(0, more)])
    return padded.reshape(*a.shape[:-1], -1)


def turned(w, groups):
    """Filters (F, C/G, kh, kw) turned by half, from outputs to inputs: (G, C/G, kh·kw·F/G)."""
    f, c, kh, kw = w.shape
    w = w.reshape(groups, f // groups, c, kh, kw)[..., ::-1, ::-1]
    return array_namespace(w).ascontiguousarray(w.transpose(0, 2, 3, 4, 1)).reshape(groups, c, -1)


def grouped(y, groups):
    """Images (n, oh, ow, F) → (G, n·oh·ow, F/G), a view."""
    return y.reshape(-1, groups, y.shape[3] // groups).swapaxes(0, 1)


def flat(stack):
    """A stack of one matrix as the matrix."""
    return stack[0] if len(stack) == 1 else stack
