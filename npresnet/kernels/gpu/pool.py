"""Pooling, channels last."""

from collections.abc import Sequence

from ...backend import Array, Pullback, array_namespace
from ...ops.check import IntOrPair, Padding, pair
from ...ops.pool import avg_pool2d, global_avg_pool2d, max_pool2d, pool_window, positions
from ...ops.window import Window
from .launch import channels_first, channels_last, launch_each, pack_width, supports_arrays

TAPS = 256               # what a byte can tell apart


def _supports_max_pool(x: Array, kernel: IntOrPair, **static) -> bool:
    kh, kw = pair(kernel, "kernel")
    return supports_arrays(x) and kh * kw <= TAPS


@max_pool2d.register("cupy", supports=_supports_max_pool)
def max_pool2d_cupy(x: Array, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0, dilation: IntOrPair = 1,
                    ceil_mode: bool = False) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.max_pool2d`.

    Saves: winner.
    """
    window = pool_window(x.shape, kernel, stride, padding, dilation)
    window = window.ceil_mode(x.shape[2:]) if ceil_mode else window
    x, xp, shape, dtype = channels_last(x), array_namespace(x), x.shape, x.dtype
    size = window.output_size(shape[2:])
    winner = xp.empty((shape[0], *size, shape[1]), xp.uint8)
    y = max_pool(x, window, winner)

    def pullback(dy):
        dy, dx = channels_last(dy, dtype), xp.empty((shape[0], *shape[2:], shape[1]), dtype)
        numbers = *window.kernel, *window.stride, *window.dilation
        launch_pool("max_pool_back", (dy, winner, dx), shape, size, numbers, window, dx.size)
        return channels_first(dx)

    return channels_first(y), pullback


def max_pool(x: Array, window: Window, winner: Array, out: Array | None = None) -> Array:
    """The pooled images (N, oh, ow, C) of (N, H, W, C); the winning taps go into ``winner``."""
    n, h, w, c = x.shape
    y = array_namespace(x).empty(winner.shape, x.dtype) if out is None else out
    numbers = *window.kernel, *window.stride, *window.dilation
    launch_pool("max_pool", (x, y, winner), (n, c, h, w), winner.shape[1:3], numbers, window, y.size)
    return y


def _supports_avg_pool(x: Array, *args, **static) -> bool:
    return supports_arrays(x)


@avg_pool2d.register("cupy", supports=_supports_avg_pool)
def avg_pool2d_cupy(x: Array, kernel: IntOrPair, *, stride: IntOrPair, padding: Padding = 0, ceil_mode: bool = False,
                    count_include_pad: bool = True) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.avg_pool2d`.

    Saves: m.
    """
    given = window = pool_window(x.shape, kernel, stride, padding)
    window = window.ceil_mode(x.shape[2:]) if ceil_mode else window
    x, xp, shape, dtype = channels_last(x), array_namespace(x), x.shape, x.dtype
    size = window.output_size(shape[2:])
    mh, mw = (positions(xp, i, o, k, s, p, count_include_pad)
              for i, o, k, s, p, _ in zip(shape[2:], size, *given))
    m, y = (mh[:, None] * mw).astype(dtype), xp.empty((shape[0], *size, shape[1]), dtype)
    numbers = *window.kernel, *window.stride
    launch_pool("avg_pool", (x, m, y), shape, size, numbers, window, y.size)

    def pullback(dy):
        dx = xp.empty((shape[0], *shape[2:], shape[1]), dtype)
        launch_pool("avg_pool_back", (channels_last(dy, dtype), m, dx), shape, size, numbers, window, dx.size)
        return channels_first(dx)

    return channels_first(y), pullback


def launch_pool(name: str, arrays: Sequence[Array], shape: Sequence[int], size: Sequence[int], numbers: Sequence[int],
                window: Window, count: int) -> None:
    """Launch a pooling kernel for ``count`` numbers of images of ``shape`` (N, C, H, W) and outputs of ``size``."""
    (_, c, h, w), (top, _), (left, _) = shape, *window.padding
    images = [a for a in arrays if a.dtype == arrays[0].dtype and a.ndim == 4]
    width = pack_width(arrays[0].dtype, c, *images)
    launch_each(name, arrays, (c // width, h, w, *size, *numbers, top, left), count // width, width)


def _supports_global_mean(x: Array) -> bool:
    return supports_arrays(x) and x.ndim == 4


@global_avg_pool2d.register("cupy", supports=_supports_global_mean)
def global_avg_pool2d_cupy(x: Array) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.global_avg_pool2d`.

    Saves: nothing.
    """
    (n, c, h, w), dtype, xp = x.shape, x.dtype, array_namespace(x)

    def pullback(dy):
        dx = xp.empty((n, h, w, c), dtype)
        dx[...] = (dy / (h * w))[:, None, None]                      # every position gets dy / (H·W)
        return channels_first(dx)

    return global_mean(channels_last(x)), pullback


def global_mean(x: Array, out: Array | None = None) -> Array:
    """The mean over an image's pixels: (N, H, W, C) → (N, C)."""
    n, h, w, c = x.shape
    y = array_namespace(x).empty((n, c), x.dtype) if out is None else out
    width = pack_width(x.dtype, c, x, y)
    launch_each("global_mean", (x, y), (c // width, h * w), y.size // width, width)
    return y
