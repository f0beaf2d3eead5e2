"""RandAugment as timm's recipes for ResNets use it: two changes of an image, each made half of the time.

The fifteen changes, their order and their strengths are those of timm's "rand-m6-mstd0.5-inc1", and each change gives
the same bytes as timm's does with Pillow's bilinear filter (here and there a byte of a moved image differs by 1).

[RA] Cubuk et al. 2019, RandAugment, arXiv:1909.13719, §3
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ..backend import Array
from .preprocessing import IMAGENET_MEAN

STRENGTH, DEVIATION, HIGHEST = 6, 0.5, 10  # of 10; it is drawn from a normal distribution
FILL = tuple(round(255 * mean) for mean in IMAGENET_MEAN)  # the colour of what lies outside of the image
BILINEAR = Image.Resampling.BILINEAR


def affine(image: Image.Image, *matrix: float) -> Image.Image:
    """Pixel (x, y) of the result is pixel (a x + b y + c, d x + e y + f) of the image."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, BILINEAR, fillcolor=FILL)


def enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Callable[[Image.Image, float], Image.Image]:
    """One of Pillow's enhancements, by 1 + 0.9 m, at least 0.1."""
    return lambda image, m: kind(image).enhance(max(0.1, 1 + 0.9 * m))


def solarize_add(image: Image.Image, m: float) -> Image.Image:
    """Make the darker half of the values brighter, by 110 m."""
    return image.point([min(255, v + int(110 * abs(m))) if v < 128 else v for v in range(256)] * 3)


CHANGES: dict[str, Callable[[Image.Image, float], Image.Image]] = {  # of strength −1 … 1
    "auto-contrast": lambda image, m: ImageOps.autocontrast(image),
    "equalize": lambda image, m: ImageOps.equalize(image),
    "invert": lambda image, m: ImageOps.invert(image),
    "rotate": lambda image, m: image.rotate(30 * m, BILINEAR, fillcolor=FILL),
    "posterize": lambda image, m: ImageOps.posterize(image, max(1, 4 - int(4 * abs(m)))),
    "solarize": lambda image, m: ImageOps.solarize(image, 256 - int(256 * abs(m))),
    "solarize-add": solarize_add,
    "color": enhance(ImageEnhance.Color),
    "contrast": enhance(ImageEnhance.Contrast),
    "brightness": enhance(ImageEnhance.Brightness),
    "sharpness": enhance(ImageEnhance.Sharpness),
    "shear-x": lambda image, m: affine(image, 1, 0.3 * m, 0, 0, 1, 0),
    "shear-y": lambda image, m: affine(image, 1, 0, 0, 0.3 * m, 1, 0),
    "translate-x": lambda image, m: affine(image, 1, 0, 0.45 * m * image.width, 0, 1, 0),
    "translate-y": lambda image, m: affine(image, 1, 0, 0, 0, 1, 0.45 * m * image.height),
}


def rand_augment(pixels: Array, u: Array) -> Array:
    """Two changes of one image, one after the other.                                                        [RA]

    Shapes: pixels (H, W, 3) uint8, u (8,) in [0, 1) → (H, W, 3) uint8.
    """
    image, kinds = Image.fromarray(pixels), list(CHANGES.values())
    for kind, made, strength, sign in u.reshape(2, 4):
        if made < 0.5:
            drawn = NormalDist(STRENGTH, DEVIATION).inv_cdf(max(float(strength), 2**-54))
            m = min(max(drawn, 0), HIGHEST) / HIGHEST
            image = kinds[int(kind * len(kinds))](image, -m if sign < 0.5 else m)
    return np.asarray(image)
