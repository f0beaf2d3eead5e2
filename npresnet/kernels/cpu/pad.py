"""Shortcut A: every s-th pixel, between channels of zeros."""

from ...backend import Array, Pullback
from ...ops.check import IntOrPair, pair
from ...ops.pad import subsample, zero_pad_channels
from .arrays import empty, is_float32
from .layout import channels_first, channels_last
from .pointwise import spread_pixels
from .pointwise import subsample as copy_row
from .program.entry_point import run


def supports(x) -> bool:
    """A batch in float32."""
    return is_float32(x) and x.ndim == 4 and x.size > 0 and len(x) > 1


def supports_stride(x, stride) -> bool:
    """As :func:`supports`."""
    return supports(x)


@subsample.register("numba", supports_stride)
def subsample_numba(x: Array, stride: IntOrPair) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.subsample`.

    Saves: nothing.
    """
    x, (sh, sw) = channels_last(x), pair(stride)
    (n, h, w, c), shape = x.shape, x.shape
    y = empty((n, -(-h // sh), -(-w // sw), c))
    run(copy_row.by_image(n, y.shape[1], x, shape, c, (sh, sw), 0, y, y.shape))

    def pullback(dy):
        dx, dy = empty(shape), channels_last(dy)
        run(spread_pixels.by_image(n, h, dy, dy.shape, (sh, sw), dx, shape))
        return channels_first(dx)

    return channels_first(y), pullback


def supports_channels(x, before, after) -> bool:
    """As :func:`supports`."""
    return supports(x) and min(before, after) >= 0


@zero_pad_channels.register("numba", supports_channels)
def zero_pad_channels_numba(x: Array, before: int, after: int) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.zero_pad_channels`.

    Saves: nothing.
    """
    x = channels_last(x)
    n, h, w, c = shape = x.shape
    y = empty((n, h, w, before + c + after))
    run(copy_row.by_image(n, h, x, shape, c, (1, 1), before, y, y.shape))

    def pullback(dy):
        dx, dy = empty(shape), channels_last(dy)
        run(copy_row.by_image(n, h, dy[..., before:], dy.shape, c, (1, 1), 0, dx, shape))
        return channels_first(dx)

    return channels_first(y), pullback
