"""Mixing: two images of a batch become one, and their labels count by the share that each has in it.

Image i is mixed with image n − 1 − i: the batch with itself in reverse order.

[M] Zhang et al. 2017, mixup, arXiv:1710.09412
[C] Yun et al. 2019, CutMix, arXiv:1905.04899
"""

from ..backend import Array

Box = tuple[int, int, int, int]  # top, left, bottom, right


def mix_up(x: Array, share: float) -> Array:
    """share · x + (1 − share) · x with the batch in reverse order.            [M] §2"""
    factor = x.dtype.type(share)
    return factor * x + (1 - factor) * x[::-1]


def cut_mix(x: Array, box: Box) -> Array:
    """x with this box of each image taken from the batch in reverse order.            [C] Eq. 1"""
    top, left, bottom, right = box
    mixed = x.copy()
    mixed[:, :, top:bottom, left:right] = x[::-1, :, top:bottom, left:right]
    return mixed


def cut_box(share: float, centre: tuple[float, float], size: tuple[int, int]) -> tuple[Box, float]:
    """(a box of an image of ``size``, the share of the image outside of it).                               [C] Eq. 2

    Its sides are √(1 − share) of the image's, its ``centre``, two numbers in [0, 1), lies anywhere in the image; what
    sticks out is cut off, so that the share that is left may be larger.
    """
    h, w = size
    half = [int(0.5 * (1 - share) ** 0.5 * side) for side in size]
    y, x = (int(place * side) for place, side in zip(centre, size))
    box = max(y - half[0], 0), max(x - half[1], 0), min(y + half[0], h), min(x + half[1], w)
    return box, 1 - (box[2] - box[0]) * (box[3] - box[1]) / (h * w)
