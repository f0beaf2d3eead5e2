"""Pooling to a given size, whatever the size of the images."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..backend import Array, Pullback, namespace_for
from .check import IntOrPair, images, pair
from .rules import op
from .total import total


@op
def adaptive_avg_pool2d(x: Array, output_size: IntOrPair) -> tuple[Array, Pullback]:
    """The mean of each of oh × ow windows that together cover the image, as even as they can be; PyTorch's rule.

        y[n,c,p,q] = mean x[n, c, i, j]  over  ⌊p·H/oh⌋ ≤ i < ⌈(p + 1)·H/oh⌉  and  ⌊q·W/ow⌋ ≤ j < ⌈(q + 1)·W/ow⌉

    Where oh does not divide H, neighbours share a row.  Every position of a window gets dy / (its number of pixels).

    Shapes: x (N, C, H, W), output_size an int or a pair (oh, ow) → y (N, C, oh, ow).
    Saves: nothing.
    Raises: ValueError for images without pixels.

    >>> y, pullback = adaptive_avg_pool2d(np.arange(5.0).reshape(1, 1, 1, 5), (1, 2))
    >>> y.ravel().tolist(), pullback(np.ones_like(y)).round(2).ravel().tolist()
    ([1.0, 3.0], [0.33, 0.33, 0.67, 0.33, 0.33])
    """
    xp, shape, size = namespace_for(x=x), x.shape, pair(output_size)
    images(x, "adaptive_avg_pool2d")
    if 0 in shape[2:]:
        raise ValueError(f"there is no mean over images without pixels: {shape}")
    y = xp.empty((*shape[:2], *size), x.dtype)
    for p, q, window, m in windows(shape[2:], size):
        y[:, :, p, q] = total(x[window], (2, 3)) / m

    def pullback(dy):
        dx = xp.zeros(shape, dy.dtype)
        for p, q, window, m in windows(shape[2:], size):
            dx[window] += dy[:, :, p, q, None, None] / m
        return dx

    return y, pullback


def windows(image: Sequence[int], size: Sequence[int]) -> Iterator[tuple[int, int, tuple[slice, ...], int]]:
    """(p, q, the slices of window p, q, its number of pixels) for every window of images of this size."""
    for p, q in np.ndindex(*size):
        (top, bottom), (left, right) = ((at * i // o, -(-(at + 1) * i // o)) for at, i, o in zip((p, q), image, size))
        window = slice(None), slice(None), slice(top, bottom), slice(left, right)
        yield p, q, window, (bottom - top) * (right - left)
