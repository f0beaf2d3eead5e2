"""Convolution as one matrix product, Y = W X̃: every column of X̃ is a receptive field.

[CL] Chellapilla, Puri & Simard 2006, High performance convolutional neural networks for document processing, §3
"""

from ..backend import Array, Pullback, array_namespace, namespace_for
from .check import IntOrPair, Padding
from .rules import op
from .total import total
from .window import Window, frame, interior

WORKSPACE = 2**26   # bytes of columns in memory at a time (64 MiB), or one image's columns where they are more


@op
def conv2d(x: Array, w: Array, b: Array | None = None, *, stride: IntOrPair = 1, padding: Padding = 0,
           dilation: IntOrPair = 1, groups: int = 1) -> tuple[Array, Pullback]:
    """Cross-correlate images with filters.

        y[n,f,p,q] = b[f] + Σ_{c,i,j} w[f,c,i,j] · x[n, c, s·p + d·i − pad, s·q + d·j − pad]

    With X̃ = im2col(x) this is a matrix product [CL], and its pullback is that product's:

        Y = W X̃ + b 1ᵀ          dW = dY X̃ᵀ          dX̃ = Wᵀ dY          db = dY 1

    With G groups, filters f and channels c fall into G equal parts, each convolved on its own.
    The padding is that of :meth:`Window.of`: in numbers, or "valid", "same" or "same_lower".
    A large batch is computed in slices, so that X̃ stays within :data:`WORKSPACE`.

    Shapes: x (N, C, H, W), w (F, C/G, kh, kw), b (F,) or None → y (N, F, oh, ow).
    Saves: x, w.  X̃ holds kh·kw copies of x, so it is built again rather than kept.
    Raises: ValueError where shapes do not fit, TypeError where dtypes or devices differ.

    >>> y, pullback = conv2d(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)))
    >>> y[0, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    >>> dx, dw, db = pullback(np.ones((1, 1, 2, 2)))
    >>> dx[0, 0].tolist()                                               # how many windows each pixel is in
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    xp = namespace_for(x=x, w=w, b=b)
    check_shapes(x, w, b, groups)
    window = Window.of(w.shape[2:], stride, padding, dilation, x.shape[2:])
    n, f, g, size = len(x), len(w), groups, window.output_size(x.shape[2:])
    w_mat = w.reshape(g, f // g, w[0].size)                             # W  (G, F/G, C/G·kh·kw)
    slices = _slices(n, w_mat[:, 0].size * size[0] * size[1] * x.itemsize)
    biased = b is not None

    def columns(images):                                                # X̃  (G, C/G·kh·kw, n·oh·ow)
        cols = im2col(x[images], window)
        return cols.reshape(g, w_mat.shape[2], cols.shape[3] * size[0] * size[1])

    y = xp.empty((n, f, *size), x.dtype)
    for images in slices:
        y_mat = w_mat @ columns(images)                                 # Y = W X̃
        y[images] = y_mat.reshape(f, -1, *size).swapaxes(0, 1)
    if biased:
        y += b[:, None, None]                                           #       + b 1ᵀ

    def pullback(dy, skip=()):
        dx = None if "x" in skip else xp.empty(x.shape, x.dtype)
        dw = None if "w" in skip else xp.zeros(w_mat.shape, w.dtype)
        for images in slices:
            dy_mat = dy[images].swapaxes(0, 1).reshape(g, f // g, -1)   # dY (G, F/G, n·oh·ow)
            if dw is not None:
                dw += dy_mat @ columns(images).swapaxes(1, 2)           # dW = dY X̃ᵀ
            if dx is not None:
                dcols = w_mat.swapaxes(1, 2) @ dy_mat                   # dX̃ = Wᵀ dY
                dx[images] = col2im(dcols, dx[images].shape, window)
        db = total(dy, (0, 2, 3)) if biased and "b" not in skip else None       # db = dY 1
        return dx, dw if dw is None else dw.reshape(w.shape), db

    return y, pullback


def im2col(x: Array, window: Window) -> Array:
    """Gather the pixels that each output sees.  (N, C, H, W) → (C, kh, kw, N, oh, ow)"""
    size = window.output_size(x.shape[2:])
    x = frame(x, window.padding)
    cols = array_namespace(x).empty((x.shape[1], *window.kernel, len(x), *size), x.dtype)
    for i, j, rows, columns in window.taps(size):
        cols[:, i, j] = x[:, :, rows, columns].swapaxes(0, 1)
    return cols


def col2im(cols: Array, shape: tuple[int, ...], window: Window) -> Array:
    """Scatter-add each column back: the transpose of :func:`im2col`.  (C, kh, kw, N, oh, ow) → (N, C, H, W)

    The loop is im2col's with the two sides exchanged and ``=`` become ``+=``:
    a gather's transpose is a scatter-add.
    """
    n, c, h, w = shape
    size = window.output_size((h, w))
    cols = cols.reshape(c, *window.kernel, n, *size)
    (top, bottom), (left, right) = window.padding
    x = array_namespace(cols).zeros((n, c, top + h + bottom, left + w + right), cols.dtype)
    for i, j, rows, columns in window.taps(size):
        x[:, :, rows, columns] += cols[:, i, j].swapaxes(0, 1)
    return interior(x, window.padding)


def _slices(n, bytes_per_image):
    """Parts of a batch of n whose columns fit the workspace."""
    step = max(1, WORKSPACE // max(1, bytes_per_image))
    return [slice(start, start + step) for start in range(0, n, step)]


def check_shapes(x: Array, w: Array, b: Array | None, groups: int = 1) -> None:
    """Raise ValueError where images, filters and bias do not fit."""
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"conv2d takes x (N, C, H, W) and w (F, C/G, kh, kw), not {x.shape} and {w.shape}")
    if min(w.shape[2:] + w.shape[:1]) < 1:
        raise ValueError(f"conv2d needs at least one filter of at least one tap; w is {w.shape}")
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(f"filters {w.shape} in {groups} group(s) expect {w.shape[1] * groups} channels "
                         f"and divide by the groups; x has {x.shape[1]} channels")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"one bias per filter is needed: {w.shape[0]}, not {b.shape}")
