"""TrivialAugment: one random change of an image, of one of 31 strengths.

The fourteen changes, their strengths and their order are those of torchvision's TrivialAugmentWide, and each change
gives the same bytes as torchvision's does on a PIL image.  Roundings in torchvision make two exceptions: it moves by 15
pixels where 16 are meant, and it goes to a shear's slope through degrees, so that here and there a byte differs by 1.

[T] Müller & Hutter 2021, TrivialAugment: Tuning-free yet state-of-the-art data augmentation, arXiv:2103.10158, §3
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ..backend import Array

BINS = 31  # strengths of each change
LEVELS = np.arange(BINS) / (BINS - 1)  # 0 … 1


class Change(NamedTuple):
    """One kind of change: ``apply(image, strength)``, which is drawn from ``strengths`` and, if signed, negated."""

    apply: Callable[[Image.Image, float], Image.Image]
    strengths: Array
    signed: bool = True


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Pixel (x, y) of the result is pixel (a x + b y + c, d x + e y + f) of the image, black outside of it."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


NONE = np.zeros(1)
CHANGES = {
    "identity": Change(lambda image, m: image, NONE, False),
    "shear-x": Change(lambda image, m: affine(image, 1, m, 0, 0, 1, 0), 0.99 * LEVELS),
    "shear-y": Change(lambda image, m: affine(image, 1, 0, 0, m, 1, 0), 0.99 * LEVELS),
    "translate-x": Change(lambda image, m: affine(image, 1, 0, -int(m), 0, 1, 0), 32 * LEVELS),
    "translate-y": Change(lambda image, m: affine(image, 1, 0, 0, 0, 1, -int(m)), 32 * LEVELS),
    "rotate": Change(lambda image, m: image.rotate(m, Image.Resampling.BILINEAR), 135 * LEVELS),
    "brightness": Change(lambda image, m: ImageEnhance.Brightness(image).enhance(1 + m), 0.99 * LEVELS),
    "color": Change(lambda image, m: ImageEnhance.Color(image).enhance(1 + m), 0.99 * LEVELS),
    "contrast": Change(lambda image, m: ImageEnhance.Contrast(image).enhance(1 + m), 0.99 * LEVELS),
    "sharpness": Change(lambda image, m: ImageEnhance.Sharpness(image).enhance(1 + m), 0.99 * LEVELS),
    "posterize": Change(lambda image, m: ImageOps.posterize(image, int(m)), 8 - np.rint(6 * LEVELS), False),
    "solarize": Change(lambda image, m: ImageOps.solarize(image, m), 255 * (1 - LEVELS), False),
    "auto-contrast": Change(lambda image, m: ImageOps.autocontrast(image), NONE, False),
    "equalize": Change(lambda image, m: ImageOps.equalize(image), NONE, False),
}


def trivial_augment(pixels: Array, u: Array) -> Array:
    """One random change of one image: its kind, its strength and its sign are drawn evenly.                        [T]

    Shapes: pixels (H, W, 3) uint8, u (3,) in [0, 1) → (H, W, 3) uint8.
    """
    change = list(CHANGES.values())[int(u[0] * len(CHANGES))]
    strength = float(change.strengths[int(u[1] * len(change.strengths))])
    sign = -1 if change.signed and u[2] < 0.5 else 1
    return np.asarray(change.apply(Image.fromarray(pixels), sign * strength))
