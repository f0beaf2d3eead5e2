"""Padding of images and of channels, and subsampling: the parts of shortcut A."""

from ..backend import Array, Pullback, array_namespace, namespace_for
from . import check
from .check import Frame, IntOrPair
from .rules import op
from .window import frame, interior


@op
def zero_pad2d(x: Array, padding: Frame) -> tuple[Array, Pullback]:
    """A frame of zeros around each image;  dx is dy without the frame.

    Shapes: x (N, C, H, W), padding p, (vertical, horizontal) or ((top, bottom), (left, right)).
    Saves: nothing.
    """
    check.images(x, "zero_pad2d")
    return constant_pad2d(x, padding)


@op
def constant_pad2d(x: Array, padding: Frame, *, value: float = 0.0) -> tuple[Array, Pullback]:
    """A frame of one ``value``, which may be infinite, around each image;  dx is dy without the frame.

    Shapes: x (N, C, H, W), padding p, (vertical, horizontal) or ((top, bottom), (left, right)).
    Saves: nothing.
    """
    namespace_for(x=x)
    check.images(x, "constant_pad2d")
    sides = check.frame(padding)
    return frame(x, sides, value), lambda dy: interior(dy, sides)


@op
def zero_pad_channels(x: Array, before: int, after: int) -> tuple[Array, Pullback]:
    """y = [0, x, 0] along the channels;  dx is dy without the zeros.

    Shapes: x (N, C, H, W) → y (N, before + C + after, H, W).
    Saves: nothing.
    """
    xp = namespace_for(x=x)
    check.images(x, "zero_pad_channels")
    n, c, h, w = x.shape
    y = xp.zeros_like(x, shape=(n, before + c + after, h, w))      # with x's memory order
    y[:, before:before + c] = x
    return y, lambda dy: dy[:, before:before + c]


@op
def subsample(x: Array, stride: IntOrPair) -> tuple[Array, Pullback]:
    """y[n,c,p,q] = x[n, c, s·p, s·q];  dx is zero at the pixels left out.

    Shapes: x (N, C, H, W) → y (N, C, ⌈H/s⌉, ⌈W/s⌉), a view of x.
    Saves: nothing.
    """
    namespace_for(x=x)
    check.images(x, "subsample")
    (sh, sw), shape = check.pair(stride), x.shape

    def pullback(dy):
        dx = array_namespace(dy).zeros_like(dy, shape=shape)
        dx[:, :, ::sh, ::sw] = dy
        return dx

    return x[:, :, ::sh, ::sw], pullback
