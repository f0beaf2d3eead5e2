"""conv2d and its pullback: products of matrices.

    Y = X̃ Wᵀ        dW = dYᵀ X̃        dX̃ = dY W

with a row of X̃ for each output pixel, (N·oh·ow, kh·kw·C) channels last: X̃ and Y are the reference's, transposed.
A 1×1 kernel of stride 1 needs no columns: X̃ is the image itself.  Where channels fill packs, with zeros if need be, Y
is summed without X̃ in memory (:mod:`.direct`), and so are dX of stride 1, which is a convolution of dY, and dW
(:mod:`.gradient`).  Elsewhere the columns of a part of the batch at a time are gathered, and scattered back.
"""

from ...backend import array_namespace, tf32_allowed
from ...ops.conv import conv2d
from ...ops.window import Window
from .filter_gradient import direct_gradient
from .im2col import Columns, flat, grouped, in_packs, matrix, turned
from .implicit_gemm import direct, suits
from .launch import first, fits, last, wide
from .product import product


@conv2d.register("cupy")
def conv2d_cupy(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Equals :func:`npresnet.ops.conv2d`; the result has channels-last strides.

    Saves: x, w.
    """
    static = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if not fits(x, w, b) or x.ndim != 4 or w.ndim != 4 or not _shapes_fit(x, w, b, groups):
        return conv2d.reference(x, w, b, **static)
    xp, tf32 = array_namespace(x, w, b), tf32_allowed()
    columns = Columns(Window.of(w.shape[2:], stride, padding, dilation), x.shape, groups)
    biased = b is not None
    y = forward(last(x), matrix(w, groups), columns, b, tf32)

    def pullback(dy, skip=()):
        dy = last(dy, w.dtype)
        dx = None if "x" in skip else first(image_gradient(dy, w, columns, tf32))
        dw = None if "w" in skip else filter_gradient(last(x), dy, columns, tf32)
        if dw is not None:                                          # (G, F/G, kh·kw·C/G) → w's order and dtype
            f, c, kh, kw = w.shape
            dw = xp.ascontiguousarray(dw.reshape(f, kh, kw, c).transpose(0, 3, 1, 2).astype(w.dtype, copy=False))
        return dx, dw, dy.sum(axis=(0, 1, 2)) if biased and "b" not in skip else None

    return first(y), pullback


def _shapes_fit(x, w, b, groups) -> bool:
    channels = groups >= 1 and x.shape[1] == w.shape[1] * groups and w.shape[0] % groups == 0
    return channels and (b is None or b.shape == w.shape[:1])


def forward(x, w, columns, b, tf32):
    """Y = X̃ Wᵀ + b as (N, oh, ow, F), for x (N, H, W, C) and w from :func:`matrix`."""
    if not columns.pointwise:
        whole, x_whole, w_whole = columns.whole(x.dtype), in_packs(x), in_packs(w, columns.shape[1] // columns.groups)
        if suits(whole, w.shape[1], x_whole, w_whole):
            bias = None if b is None else array_namespace(x, b).ascontiguousarray(b, wide(x.dtype))
            return direct(x_whole, w_whole, whole, bias, tf32=tf32)
    y = convolve(x, w, columns, tf32=tf32)
    if b is not None:
        y += b
    return y


def image_gradient(dy, w, columns, tf32):
    """dX (N, H, W, C) of dY (N, oh, ow, F), for filters w (F, C/G, kh, kw)."""
    if columns.window.stride == (1, 1) and not columns.pointwise:
        filters, around = turned(w, columns.groups), columns.turned(len(w))
        if suits(around, filters.shape[1], dy, filters):
            return direct(dy, filters, around, tf32=tf32)           # dX = dY ∗ W, each filter turned by half
    return scattered_gradient(dy, matrix(w, columns.groups), columns, tf32=tf32)


def filter_gradient(x, dy, columns, tf32):
    """dW (G, F/G, kh·kw·C/G) of x (N, H, W, C) and dY (N, oh, ow, F), in float32 or float64."""
    if not columns.pointwise:
        whole, x_whole, channels = columns.whole(x.dtype), in_packs(x), columns.shape[1] // columns.groups
        if suits(whole, dy.shape[3] // columns.groups, x_whole, dy):
            dw = direct_gradient(x_whole, dy, whole, tf32=tf32)
            stored = whole.shape[1] // columns.groups
            return dw.reshape(*dw.shape[:2], -1, stored)[..., :channels].reshape(*dw.shape[:2], -1)
    return gathered_gradient(x, dy, columns, tf32=tf32)


def convolve(x, w, columns, out=None, room=None, tf32=False):
    """Y = X̃ Wᵀ from columns in memory."""
    parts = columns.parts(x.itemsize)
    if out is None:
        out = array_namespace(x).empty((len(x), *columns.size, w.shape[0] * w.shape[1]), x.dtype)
    room = columns.workspace(x, parts) if room is None else room
    for images in parts:                                            # Y = X̃ Wᵀ
        product(flat(columns.gathered(x[images], room)), flat(w.swapaxes(1, 2)),
                flat(grouped(out[images], columns.groups)), tf32=tf32)
    return out


def scattered_gradient(dy, w, columns, tf32=False):
    """dX from dX̃ in memory, for w from :func:`matrix`."""
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


def gathered_gradient(x, dy, columns, tf32=False):
    """dW from columns in memory."""
    g, f, parts = columns.groups, dy.shape[3], columns.parts(x.itemsize)
    dw = array_namespace(x).empty((g, f // g, columns.depth), wide(x.dtype))
    room = columns.workspace(x, parts)
    for images in parts:
        dy_mat, cols = grouped(dy[images], g).swapaxes(1, 2), columns.gathered(x[images], room)
        product(flat(dy_mat), flat(cols), flat(dw), accumulate=images.start > 0, tf32=tf32)     # dW = dYᵀ X̃
    return dw
