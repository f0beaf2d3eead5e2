"""Pooling, channels last."""

from ...backend import array_namespace
from ...ops.pool import avg_pool2d, check_window, global_avg_pool2d, max_pool2d, positions
from ...ops.window import Window
from .launch import first, fits, last, launch_each, width_of

TAPS = 256               # what a byte can tell apart


@max_pool2d.register("cupy")
def max_pool2d_cupy(x, kernel, *, stride, padding=0, dilation=1, ceil_mode=False):
    """Equals :func:`npresnet.ops.max_pool2d`.

    Saves: winner.
    """
    window = Window.of(kernel, stride, padding, dilation)
    if not fits(x) or window.kernel[0] * window.kernel[1] > TAPS:
        return max_pool2d.reference(x, kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    window = check_window(window, x.shape)
    window = window.ceil_mode(x.shape[2:]) if ceil_mode else window
    x, xp, shape, dtype = last(x), array_namespace(x), x.shape, x.dtype
    size = window.output_size(shape[2:])
    winner = xp.empty((shape[0], *size, shape[1]), xp.uint8)
    y = largest(x, window, winner)

    def pullback(dy):
        dy, dx = last(dy, dtype), xp.empty((shape[0], *shape[2:], shape[1]), dtype)
        over("max_pool_back", (dy, winner, dx), shape, size, (*window.kernel, *window.stride, *window.dilation), window,
             dx.size)
        return first(dx)

    return first(y), pullback


def largest(x, window, winner, out=None):
    """The pooled images (N, oh, ow, C) of (N, H, W, C); the winning taps go into ``winner``."""
    n, h, w, c = x.shape
    y = array_namespace(x).empty(winner.shape, x.dtype) if out is None else out
    over("max_pool", (x, y, winner), (n, c, h, w), winner.shape[1:3],
         (*window.kernel, *window.stride, *window.dilation), window, y.size)
    return y


@avg_pool2d.register("cupy")
def avg_pool2d_cupy(x, kernel, *, stride, padding=0, ceil_mode=False, count_include_pad=True):
    """Equals :func:`npresnet.ops.avg_pool2d`.

    Saves: m.
    """
    if not fits(x):
        return avg_pool2d.reference(x, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode,
                                    count_include_pad=count_include_pad)
    given = window = check_window(Window.of(kernel, stride, padding), x.shape)
    window = window.ceil_mode(x.shape[2:]) if ceil_mode else window
    x, xp, shape, dtype = last(x), array_namespace(x), x.shape, x.dtype
    size = window.output_size(shape[2:])
    mh, mw = (positions(xp, i, o, k, s, p, count_include_pad) for i, o, k, s, p, _ in zip(shape[2:], size, *given))
    m, y = (mh[:, None] * mw).astype(dtype), xp.empty((shape[0], *size, shape[1]), dtype)
    numbers = (*window.kernel, *window.stride)
    over("avg_pool", (x, m, y), shape, size, numbers, window, y.size)

    def pullback(dy):
        dx = xp.empty((shape[0], *shape[2:], shape[1]), dtype)
        over("avg_pool_back", (last(dy, dtype), m, dx), shape, size, numbers, window, dx.size)
        return first(dx)

    return first(y), pullback


def over(name, arrays, shape, size, numbers, window, count):
    """Launch a pooling kernel for ``count`` numbers of images of ``shape`` (N, C, H, W)."""
    (_, c, h, w), (top, _), (left, _) = shape, *window.padding
    images = [a for a in arrays if a.dtype == arrays[0].dtype and a.ndim == 4]
    width = width_of(arrays[0].dtype, c, *images)
    launch_each(name, arrays, (c // width, h, w, *size, *numbers, top, left), count // width, width)


@global_avg_pool2d.register("cupy")
def global_avg_pool2d_cupy(x):
    """Equals :func:`npresnet.ops.global_avg_pool2d`.

    Saves: nothing.
    """
    if not fits(x) or x.ndim != 4:
        return global_avg_pool2d.reference(x)
    (n, c, h, w), dtype, xp = x.shape, x.dtype, array_namespace(x)

    def pullback(dy):
        dx = xp.empty((n, h, w, c), dtype)
        dx[...] = (dy / (h * w))[:, None, None]                      # every position gets dy / (H·W)
        return first(dx)

    return mean(last(x)), pullback


def mean(x, out=None):
    """(N, H, W, C) → (N, C)"""
    n, h, w, c = x.shape
    y = array_namespace(x).empty((n, c), x.dtype) if out is None else out
    width = width_of(x.dtype, c, x, y)
    launch_each("global_mean", (x, y), (c // width, h * w), y.size // width, width)
    return y
