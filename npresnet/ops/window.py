"""How a kernel slides over an image: the arithmetic shared by convolution and pooling.

[DV] Dumoulin & Visin 2016, A guide to convolution arithmetic for deep learning, arXiv:1603.07285
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..backend import Array, array_namespace
from . import check
from .check import IntOrPair, Padding, pair

Sides = tuple[tuple[int, int], tuple[int, int]]             # ((top, bottom), (left, right))
NONE: Sides = (0, 0), (0, 0)


class Window(NamedTuple):
    """Kernel size, stride and dilation as (vertical, horizontal); padding as ((top, bottom), (left, right))."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Sides
    dilation: tuple[int, int]

    @classmethod
    def of(cls, kernel: IntOrPair, stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1,
           size: Sequence[int] = ()) -> "Window":
        """The window of these sizes, each an integer or a pair, checked.

        A padding in words is "valid", none, or one for images of ``size`` (height, width): "same" and "same_lower" are
        :func:`same_padding`.
        """
        kernel, stride, dilation = pair(kernel, "kernel"), pair(stride, "stride"), pair(dilation, "dilation")
        sides = check.padding(padding)
        if isinstance(sides, str):
            lower = sides == "same_lower"
            sides = NONE if sides == "valid" else same_padding(size, kernel, stride, dilation, lower=lower)
        return cls(kernel, stride, sides, dilation)

    def output_size(self, size: Sequence[int]) -> tuple[int, int]:
        """o = ⌊(i + 2p − k − (k−1)(d−1)) / s⌋ + 1    [DV] Relationship 15, with 2p the padding of both sides"""
        oh, ow = ((i + sum(p) - k - (k - 1) * (d - 1)) // s + 1 for i, k, s, p, d in zip(size, *self))
        if min(oh, ow) < 1:
            raise ValueError(f"an image of {size[0]}x{size[1]} pixels is smaller than the window: {self}")
        return oh, ow

    def taps(self, output_size: Sequence[int]) -> Iterator[tuple[int, int, slice, slice]]:
        """For each kernel position (i, j): the rows and columns of the padded image that it is multiplied with."""
        for i, j in np.ndindex(*self.kernel):
            rows, cols = (slice(t * d, t * d + s * (o - 1) + 1, s)
                          for t, d, s, o in zip((i, j), self.dilation, self.stride, output_size))
            yield i, j, rows, cols

    def ceil_mode(self, size: Sequence[int]) -> "Window":
        """The window whose ⌊·⌋ is this one's ⌈·⌉: padded at the bottom and right until the last step fits.

        As in PyTorch, a last step that would start in the bottom or right padding is dropped.
        """
        padding = []
        for i, k, s, (before, after), d in zip(size, *self):
            reach = d * (k - 1) + 1
            o = -((reach - i - before - after) // s) + 1                    # ⌈(i + 2p − reach) / s⌉ + 1
            if (o - 1) * s >= i + before:
                o -= 1
            padding.append((before, max(after, (o - 1) * s + reach - i - before)))
        return self._replace(padding=tuple(padding))


def same_padding(size: IntOrPair, kernel: IntOrPair, stride: IntOrPair, dilation: IntOrPair = 1, *,
                 lower: bool = False) -> Sides:
    """TensorFlow's 'same', ((top, bottom), (left, right)) so that o = ⌈i/s⌉.

    An odd pixel goes to the bottom and the right, as in TensorFlow, in ONNX's SAME_UPPER and, at stride 1, in PyTorch;
    to the top and the left where ``lower``, as in ONNX's SAME_LOWER.
    """
    totals = (max(0, (-(-i // s) - 1) * s + d * (k - 1) + 1 - i)
              for i, k, s, d in zip(pair(size, "size", 0), pair(kernel, "kernel"), pair(stride, "stride"),
                                    pair(dilation, "dilation")))
    rows, columns = ((total - total // 2, total // 2) if lower else (total // 2, total - total // 2)
                     for total in totals)
    return rows, columns


def frame(x: Array, padding: Sides, fill: float = 0) -> Array:
    """The images in ``x`` (…, H, W) with a frame of ``fill`` around each; x itself where the frame is empty."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    *lead, h, w = x.shape
    framed = array_namespace(x).full((*lead, top + h + bottom, left + w + right), fill, x.dtype)
    interior(framed, padding)[...] = x
    return framed


def interior(framed: Array, padding: Sides) -> Array:
    """The view of ``framed`` without its frame: where :func:`frame` put the images."""
    (top, bottom), (left, right) = padding
    *_, h, w = framed.shape
    return framed[..., top:h - bottom, left:w - right]
