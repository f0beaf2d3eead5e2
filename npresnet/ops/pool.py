"""Pooling, one value for each window: a loop over the window's taps, each a strided view of the images."""

from types import ModuleType

from ..backend import Array, Pullback, array_namespace, namespace_for
from .check import IntOrPair, Padding, images
from .rules import op
from .total import total
from .window import Window, frame, interior


@op
def max_pool2d(x: Array, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0, dilation: IntOrPair = 1,
               ceil_mode: bool = False) -> tuple[Array, Pullback]:
    """The largest value in each window.

        y[n,c,p,q] = max_{i,j} x[n, c, s·p + d·i − pad, s·q + d·j − pad]

    Padding counts as −∞, so it never wins.  The first maximum in reading order wins a tie and gets the whole gradient:
    dx = Σ dy over the windows whose maximum x is.  NaN wins over numbers, as in PyTorch.  Where a padded window holds
    only −∞, its gradient may go to the padding and be lost; PyTorch gives it to the first pixel.

    Shapes: x (N, C, H, W), kernel an int or a pair → y (N, C, oh, ow).
    Saves: winner; one small integer for each output.
    Raises: ValueError where the window does not fit, or is padded by more than half of itself.

    >>> y, pullback = max_pool2d(np.array([[[[1.0, 7.0, 7.0, 2.0]]]]), (1, 2), stride=(1, 2))
    >>> y.ravel().tolist(), pullback(np.ones_like(y)).ravel().tolist()
    ([7.0, 7.0], [0.0, 1.0, 1.0, 0.0])
    """
    xp, shape = namespace_for(x=x), x.shape
    window = pool_window(shape, kernel, stride, padding, dilation)
    window = window.ceil_mode(shape[2:]) if ceil_mode else window
    size = window.output_size(shape[2:])
    framed = frame(x, window.padding, -xp.inf)
    y = xp.full((*shape[:2], *size), -xp.inf, x.dtype)
    winner = xp.zeros(y.shape, xp.uint8 if window.kernel[0] * window.kernel[1] <= 256 else xp.int32)
    for tap, (_, _, rows, cols) in enumerate(window.taps(size)):
        value = framed[:, :, rows, cols]
        better = (value > y) | (value != value)                         # only NaN differs from itself
        y = xp.where(better, value, y)
        winner[better] = tap

    def pullback(dy):
        taps = ((rows, cols, xp.where(winner == tap, dy, 0))            # only the winner gets dy, even ∞ or NaN
                for tap, (_, _, rows, cols) in enumerate(window.taps(size)))
        return _scatter_add(taps, shape, window, dy)

    return y, pullback


@op
def avg_pool2d(x: Array, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0, ceil_mode: bool = False,
               count_include_pad: bool = True) -> tuple[Array, Pullback]:
    """The mean of each window.

        y[n,c,p,q] = 1/m[p,q] · Σ_{i,j} x[n, c, s·p + i − pad, s·q + j − pad]

    Padding counts as 0.  m is the number of the window's positions inside the image, or inside the padded image with
    ``count_include_pad``; padding that ceil mode adds is never counted, as in PyTorch.  Every position gets dy/m.

    Shapes: x (N, C, H, W), kernel an int or a pair → y (N, C, oh, ow).
    Saves: m.
    Raises: ValueError where the window does not fit, or is padded by more than half of itself.
    """
    xp, shape = namespace_for(x=x), x.shape
    given = window = pool_window(shape, kernel, stride, padding)
    if ceil_mode:
        window = window.ceil_mode(shape[2:])
    size = window.output_size(shape[2:])
    mh, mw = (positions(xp, i, o, k, s, p, count_include_pad) for i, o, k, s, p, _ in zip(shape[2:], size, *given))
    m = (mh[:, None] * mw).astype(x.dtype)
    framed = frame(x, window.padding)
    y = sum(framed[:, :, rows, cols] for _, _, rows, cols in window.taps(size)) / m

    def pullback(dy):
        taps = ((rows, cols, dy / m) for _, _, rows, cols in window.taps(size))
        return _scatter_add(taps, shape, window, dy)

    return y, pullback


@op
def global_avg_pool2d(x: Array) -> tuple[Array, Pullback]:
    """y[n,c] = mean_{p,q} x[n,c,p,q];  every position gets dx = dy / (H·W).

    Shapes: x (N, C, H, W) → y (N, C).
    Saves: nothing.
    """
    xp, shape = namespace_for(x=x), x.shape
    images(x, "global_avg_pool2d")
    if 0 in shape[2:]:
        raise ValueError(f"there is no mean over images without pixels: {shape}")

    def pullback(dy):
        return xp.broadcast_to(dy[:, :, None, None] / (shape[2] * shape[3]), shape)

    return total(x, (2, 3)) / (shape[2] * shape[3]), pullback


def _scatter_add(taps, shape, window, dy):
    """dx (N, C, H, W): for each tap, its part of dy added to the pixels that it covers."""
    (top, bottom), (left, right) = window.padding
    n, c, h, w = shape
    dx = array_namespace(dy).zeros((n, c, top + h + bottom, left + w + right), dy.dtype)
    for rows, cols, share in taps:
        dx[:, :, rows, cols] += share
    return interior(dx, window.padding)


def positions(xp: ModuleType, i: int, o: int, k: int, s: int, padding: tuple[int, int], include_pad: bool) -> Array:
    """(o,): along an axis of i pixels, how many of the k positions of each of the o windows are counted."""
    start = xp.arange(o) * s - padding[0]
    stop = xp.minimum(start + k, i + padding[1])
    if include_pad:
        return stop - start
    return xp.minimum(stop, i) - xp.maximum(start, 0)


def pool_window(shape: tuple[int, ...], kernel: IntOrPair, stride: IntOrPair, padding: Padding,
                dilation: IntOrPair = 1) -> Window:
    """The window, if images of this shape can be pooled with it."""
    if len(shape) != 4:
        raise ValueError(f"pooling takes images (N, C, H, W), not {shape}")
    if shape[1] == 0:
        raise ValueError(f"pooling takes images with at least one channel, not {shape}")
    window = Window.of(kernel, stride, padding, dilation, shape[2:])
    if any(max(p) > (d * (k - 1) + 1) // 2 for k, p, d in zip(window.kernel, window.padding, window.dilation)):
        raise ValueError(f"padding of more than half the window leaves windows without a pixel: {window}")
    return window
