"""conv2d and its pullback: columns of a part of the batch at a time, and products of matrices.

    Y = X̃ W        dW = X̃ᵀ dY        dX̃ = dY Wᵀ

with a row of X̃ for each output pixel, (N·oh·ow, kh·kw·C) channels last: the transposes of the reference's matrices.
A 1×1 kernel of stride 1 needs no columns: X̃ is the image itself.
"""

from typing import NamedTuple

from ...backend import array_namespace, tf32_allowed
from ...ops.conv import conv2d
from ...ops.window import Window
from .launch import LARGEST, first, fits, last, launch_each, wide, width_of
from .product import product

WORKSPACE = 2**25                # bytes of columns at a time: they stay in the L2 cache of an A100 or H100


@conv2d.register("cupy")
def conv2d_cupy(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Equals :func:`npresnet.ops.conv2d`; the result has channels-last strides.

    Saves: x, w.
    """
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if not fits(x, w, b) or x.ndim != 4 or w.ndim != 4 or not _shapes_fit(x, w, b, groups):
        return conv2d.reference(x, w, b, **static)
    xp, exact = array_namespace(x, w, b), not tf32_allowed()
    columns = Columns(Window.of(w.shape[2:], stride, padding, dilation), x.shape, groups)
    biased = b is not None
    y = convolve(last(x), matrix(w, groups), columns, tf32=not exact)
    if biased:
        y += b

    def pullback(dy, skip=()):
        dy = last(dy, w.dtype)
        dx = None if "x" in skip else first(image_gradient(dy, matrix(w, groups), columns, tf32=not exact))
        dw = None if "w" in skip else filter_gradient(last(x), dy, columns, tf32=not exact)
        if dw is not None:                                          # (G, F/G, kh·kw·C/G) → w's order and dtype
            f, c, kh, kw = w.shape
            dw = xp.ascontiguousarray(dw.reshape(f, kh, kw, c).transpose(0, 3, 1, 2).astype(w.dtype, copy=False))
        return dx, dw, dy.sum(axis=(0, 1, 2)) if biased and "b" not in skip else None

    return first(y), pullback


def _shapes_fit(x, w, b, groups) -> bool:
    channels = groups >= 1 and x.shape[1] == w.shape[1] * groups and w.shape[0] % groups == 0
    return channels and (b is None or b.shape == w.shape[:1])


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

    def parts(self, itemsize) -> list[slice]:
        """Parts of the batch whose columns fit the workspace: all of it where there are none."""
        n, (oh, ow) = self.shape[0], self.size
        image = oh * ow * self.depth * self.groups
        step = n if self.pointwise else max(1, min(WORKSPACE // (image * itemsize), LARGEST // image))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def workspace(self, like, parts):
        """Room for the columns of the largest part; None where there are none."""
        (oh, ow), xp = self.size, array_namespace(like)
        if self.pointwise:
            return None
        return xp.empty(((parts[0].stop - parts[0].start) * oh * ow, self.groups * self.depth), like.dtype)

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


def grouped(y, groups):
    """Images (n, oh, ow, F) → (G, n·oh·ow, F/G), a view."""
    return y.reshape(-1, groups, y.shape[3] // groups).swapaxes(0, 1)


def flat(stack):
    """A stack of one matrix as the matrix."""
    return stack[0] if len(stack) == 1 else stack


def convolve(x, w, columns, out=None, room=None, tf32=False):
    """Y = X̃ W as (N, oh, ow, F), for x (N, H, W, C) and w from :func:`matrix`."""
    parts = columns.parts(x.itemsize)
    if out is None:
        out = array_namespace(x).empty((len(x), *columns.size, w.shape[0] * w.shape[1]), x.dtype)
    room = columns.workspace(x, parts) if room is None else room
    for images in parts:                                            # Y = X̃ Wᵀ
        product(flat(columns.gathered(x[images], room)), flat(w.swapaxes(1, 2)),
                flat(grouped(out[images], columns.groups)), tf32=tf32)
    return out


def image_gradient(dy, w, columns, tf32=False):
    """dX (N, H, W, C) of dY (N, oh, ow, F)."""
    n, c, h, width = columns.shape
    dx, parts, g = array_namespace(dy).empty((n, h, width, c), dy.dtype), columns.parts(dy.itemsize), columns.groups
    room = columns.workspace(dy, parts)
    for images in parts:
        dy_mat = grouped(dy[images], g)
        target = dx[images] if columns.pointwise else room[:dy_mat.shape[1]]
        dcols = target.reshape(dy_mat.shape[1], g, columns.depth).swapaxes(0, 1)
        product(flat(dy_mat), flat(w), flat(dcols), tf32=tf32)      # dX̃ = dY W
        if not columns.pointwise:
            columns.scattered(room, dx[images])
    return dx


def filter_gradient(x, dy, columns, tf32=False):
    """dW (G, F/G, kh·kw·C/G) in float32 or float64."""
    g, f, parts = columns.groups, dy.shape[3], columns.parts(x.itemsize)
    dw = array_namespace(x).empty((g, f // g, columns.depth), wide(x.dtype))
    room = columns.workspace(x, parts)
    for images in parts:
        dy_mat, cols = grouped(dy[images], g).swapaxes(1, 2), columns.gathered(x[images], room)
        product(flat(dy_mat), flat(cols), flat(dw), accumulate=images.start > 0, tf32=tf32)     # dW = dYᵀ X̃
    return dw
