"""conv2d and its pullback: products of matrices.

    Y = X̃ Wᵀ        dW = dYᵀ X̃        dX̃ = dY W

with a row of X̃ for each output pixel, (N·oh·ow, kh·kw·C) channels last: X̃ and Y are the reference's, transposed.
A 1×1 kernel of stride 1 needs no columns: X̃ is the image itself.  Where channels fill packs, with zeros if need be, Y
is summed without X̃ in memory (:mod:`.implicit_gemm`), and so are dX of stride 1, which is a convolution of dY, and dW
(:mod:`.filter_gradient`).  Elsewhere the columns of a part of the batch at a time are gathered, and scattered back.
"""

from ...backend import Array, Pullback, array_namespace, tf32_allowed
from ...ops.check import IntOrPair, Padding
from ...ops.conv import conv2d
from ...ops.window import Window
from .filter_gradient import implicit_filter_gradient
from .im2col import Columns, grouped, matrix, padded_channels, transposed_filters, unstacked
from .implicit_gemm import implicit_gemm, supports
from .launch import channels_first, channels_last, sum_dtype, supports_arrays
from .product import product


def _supports_conv(x: Array, w: Array, b: Array | None = None, *, groups: int = 1, **window) -> bool:
    if not supports_arrays(x, w, b) or x.ndim != 4 or w.ndim != 4:
        return False
    channels = groups >= 1 and x.shape[1] == w.shape[1] * groups and w.shape[0] % groups == 0
    return channels and (b is None or b.shape == w.shape[:1])


@conv2d.register("cupy", supports=_supports_conv)
def conv2d_cupy(x: Array, w: Array, b: Array | None = None, *, stride: IntOrPair = 1, padding: Padding = 0,
                dilation: IntOrPair = 1, groups: int = 1) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.conv2d`; the result has channels-last strides.

    Saves: x, w.
    """
    xp, tf32 = array_namespace(x, w, b), tf32_allowed()
    columns = Columns(Window.of(w.shape[2:], stride, padding, dilation, x.shape[2:]), x.shape, groups)
    biased = b is not None
    y = forward(channels_last(x), matrix(w, groups), columns, b, tf32)

    def pullback(dy, skip=()):
        dy = channels_last(dy, w.dtype)
        dx = None if "x" in skip else channels_first(image_gradient(dy, w, columns, tf32))
        dw = None if "w" in skip else filter_gradient(channels_last(x), dy, columns, tf32)
        if dw is not None:                                          # (G, F/G, kh·kw·C/G) → w's order and dtype
            f, c, kh, kw = w.shape
            dw = xp.ascontiguousarray(dw.reshape(f, kh, kw, c).transpose(0, 3, 1, 2).astype(w.dtype, copy=False))
        return dx, dw, dy.sum(axis=(0, 1, 2)) if biased and "b" not in skip else None

    return channels_first(y), pullback


def forward(x: Array, w: Array, columns: Columns, b: Array | None, tf32: bool) -> Array:
    """Y = X̃ Wᵀ + b as (N, oh, ow, F), for x (N, H, W, C) and w from :func:`matrix`."""
    if not columns.pointwise:
        padded, channels = columns.padded(x.dtype), columns.shape[1] // columns.groups
        x_padded, w_padded = padded_channels(x), padded_channels(w, channels)
        if supports(padded, w.shape[1], x_padded, w_padded):
            bias = None if b is None else array_namespace(x, b).ascontiguousarray(b, sum_dtype(x.dtype))
            return implicit_gemm(x_padded, w_padded, padded, bias, tf32=tf32)
    y = explicit_gemm(x, w, columns, tf32=tf32)
    if b is not None:
        y += b
    return y


def image_gradient(dy: Array, w: Array, columns: Columns, tf32: bool) -> Array:
    """dX (N, H, W, C) of dY (N, oh, ow, F), for filters w (F, C/G, kh, kw)."""
    if columns.window.stride == (1, 1) and not columns.pointwise:
        filters, transposed = transposed_filters(w, columns.groups), columns.transposed(len(w))
        if supports(transposed, filters.shape[1], dy, filters):
            return implicit_gemm(dy, filters, transposed, tf32=tf32)    # dX = dY ∗ W, each filter rotated by 180°
    return explicit_image_gradient(dy, matrix(w, columns.groups), columns, tf32=tf32)


def filter_gradient(x: Array, dy: Array, columns: Columns, tf32: bool) -> Array:
    """dW (G, F/G, kh·kw·C/G) of x (N, H, W, C) and dY (N, oh, ow, F), in float32 or float64."""
    if not columns.pointwise:
        padded, x_padded, channels = columns.padded(x.dtype), padded_channels(x), columns.shape[1] // columns.groups
        if supports(padded, dy.shape[3] // columns.groups, x_padded, dy):
            dw = implicit_filter_gradient(x_padded, dy, padded, tf32=tf32)
            stored = padded.shape[1] // columns.groups
            return dw.reshape(*dw.shape[:2], -1, stored)[..., :channels].reshape(*dw.shape[:2], -1)
    return explicit_filter_gradient(x, dy, columns, tf32=tf32)


def explicit_gemm(x: Array, w: Array, columns: Columns, out: Array | None = None, workspace: Array | None = None,
                  tf32: bool = False) -> Array:
    """Y = X̃ Wᵀ from columns in memory."""
    parts = columns.parts(x.itemsize)
    shape = len(x), *columns.size, w.shape[0] * w.shape[1]
    y = array_namespace(x).empty(shape, x.dtype) if out is None else out
    workspace = columns.workspace(x, parts) if workspace is None else workspace
    for images in parts:                                            # Y = X̃ Wᵀ
        product(unstacked(columns.gather(x[images], workspace)), unstacked(w.swapaxes(1, 2)),
                unstacked(grouped(y[images], columns.groups)), tf32=tf32)
    return y


def explicit_image_gradient(dy: Array, w: Array, columns: Columns, tf32: bool = False) -> Array:
    """dX from dX̃ in memory, for w from :func:`matrix`."""
    n, c, h, width = columns.shape
    dx, parts, g = array_namespace(dy).empty((n, h, width, c), dy.dtype), columns.parts(dy.itemsize), columns.groups
    workspace = columns.workspace(dy, parts)
    for images in parts:
        dy_mat = grouped(dy[images], g)
        target = dx[images] if workspace is None else workspace[:dy_mat.shape[1]]
        dcols = target.reshape(dy_mat.shape[1], g, columns.depth).swapaxes(0, 1)
        product(unstacked(dy_mat), unstacked(w), unstacked(dcols), tf32=tf32)                   # dX̃ = dY W
        if workspace is not None:
            columns.scatter(workspace, dx[images])
    return dx


def explicit_filter_gradient(x: Array, dy: Array, columns: Columns, tf32: bool = False) -> Array:
    """dW from columns in memory."""
    g, f, parts = columns.groups, dy.shape[3], columns.parts(x.itemsize)
    dw = array_namespace(x).empty((g, f // g, columns.depth), sum_dtype(x.dtype))
    workspace = columns.workspace(x, parts)
    for images in parts:
        dy_mat, cols = grouped(dy[images], g).swapaxes(1, 2), columns.gather(x[images], workspace)
        product(unstacked(dy_mat), unstacked(cols), unstacked(dw), accumulate=images.start > 0, tf32=tf32)  # dW = dYᵀ X̃
    return dw
