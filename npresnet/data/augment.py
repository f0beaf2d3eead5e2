"""Augmentation: random changes of an image that keep its label.

Each random number is a function of (seed, epoch, image, draw), not of a generator's past, so an epoch is the same
whichever thread prepares which image, and a resumed run sees what an uninterrupted one would have seen.

[V]  Vigna 2015, splitmix64.c, after Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators
[R1] He et al. 2015, arXiv:1512.03385, §3.4 and §4.2
[I]  Szegedy et al. 2014, Going deeper with convolutions, arXiv:1409.4842, §6
[E]  Zhong et al. 2017, Random erasing data augmentation, arXiv:1708.04896
"""

from typing import Any

import numpy as np
from PIL import Image

from ..backend import Array, array_namespace
from .preprocessing import SCALES, Preprocessing

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)  # ITU-R BT.601


def uniforms(seed: int, epoch: int, images: Any, draws: int) -> Array:
    """Random numbers in [0, 1), (len(images), draws): a hash of (seed, epoch, image, draw).           [V]"""
    xp = array_namespace(images)
    with np.errstate(over="ignore"):  # arithmetic modulo 2⁶⁴ is intended
        key = scrambled(np.uint64(seed) + GOLDEN)
        key = scrambled(key ^ np.uint64(epoch) + GOLDEN)
        key = scrambled(xp.asarray(images, np.uint64) + GOLDEN ^ key)
        numbers = scrambled(key[:, None] + xp.arange(1, draws + 1, dtype=np.uint64) * GOLDEN)
    return (numbers >> np.uint64(11)) * 2.0**-53


def scrambled(z: Any) -> Any:
    """splitmix64's finalizer: each bit of z changes about half of the result's bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def crop_and_flip(pixels: Array, u: Array, pad: int = 4) -> Array:
    """A random crop of each image after padding it with ``pad`` zeros on all sides, mirrored half of the time.  [R1]

    Shapes: pixels (N, H, W, C), u (N, 3) in [0, 1) → (N, H, W, C).
    """
    (n, h, w, _), xp = pixels.shape, array_namespace(pixels, u)
    framed = xp.pad(pixels, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    top, left = (u[:, :2] * (2 * pad + 1)).astype(int).T
    rows, columns = top[:, None] + xp.arange(h), left[:, None] + xp.arange(w)
    columns = xp.where(u[:, 2:] < 0.5, columns[:, ::-1], columns)
    return framed[xp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def resized_crop(
    image: Array,
    u: Array,
    side: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    tries: int = 10,
) -> Array:
    """A random part of one image, resized to a square by Pillow, mirrored half of the time.    [I]

    The part's share of the area is uniform in ``scale``, its width/height log-uniform in ``ratio``.  If none of
    ``tries`` parts fits into the image, the whole image is taken (torchvision then takes the largest centred part).

    Shapes: image (H, W, 3) uint8, u (2·tries + 3,) in [0, 1) → (side, side, 3) uint8.
    """
    h, w, _ = image.shape
    widths, heights = random_sides(h * w, u[: 2 * tries], scale, ratio)
    fits = np.flatnonzero((widths > 0) & (widths <= w) & (heights > 0) & (heights <= h))
    ch, cw = (heights[fits[0]], widths[fits[0]]) if len(fits) else (h, w)
    top, left = int(u[-3] * (h - ch + 1)), int(u[-2] * (w - cw + 1))
    part = Image.fromarray(image[top : top + ch, left : left + cw]).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(part)[:, ::-1] if u[-1] < 0.5 else np.asarray(part)


def random_sides(area: int, u: Array, scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[Array, Array]:
    """Pairs of sides (n,), (n,) from 2n numbers: their product is a share of ``area`` that is uniform in ``scale``, the
    logarithm of their quotient is uniform over ``ratio``."""
    shares, quotients = np.split(u, 2)
    products = area * (scale[0] + (scale[1] - scale[0]) * shares)
    quotients = np.exp(np.log(ratio[0]) + np.log(ratio[1] / ratio[0]) * quotients)
    return np.rint(np.sqrt(products * quotients)).astype(int), np.rint(np.sqrt(products / quotients)).astype(int)


def scaled_crop(image: Array, u: Array, side: int, scale: tuple[float, float] = (256 / 224, 480 / 224)) -> Array:
    """A random square of one image whose shorter side was resized, mirrored half of the time.             [R1] §3.4

    The shorter side becomes ``side`` times a number that is uniform in ``scale``.

    Shapes: image (H, W, 3) uint8, u (4,) in [0, 1) → (side, side, 3) uint8.
    """
    short = round(side * (scale[0] + (scale[1] - scale[0]) * float(u[0])))
    whole = Preprocessing(short, None).resized(Image.fromarray(image))
    left, top = (int(place * (length - side + 1)) for place, length in zip(u[1:3], whole.size))
    part = np.asarray(whole.crop((left, top, left + side, top + side)))
    return part[:, ::-1] if u[3] < 0.5 else part


def erased(x: Array, u: Array, probability: float) -> Array:
    """A random rectangle of some images set to 0, the mean: 2 to 33 % of the area, sides in a ratio of 0.3 to 3.3.  [E]

    An image none of whose ten rectangles is smaller than it stays whole, as in torchvision.

    Shapes: x (N, C, H, W), u (N, 23) in [0, 1) → (N, C, H, W).
    """
    h, w = x.shape[2:]
    x = x.copy(order="K")
    for k in np.flatnonzero(u[:, 0] < probability):
        heights, widths = random_sides(h * w, u[k, 1:21], (0.02, 0.33), (0.3, 3.3))
        fits = np.flatnonzero((heights < h) & (widths < w))
        if len(fits):
            eh, ew = heights[fits[0]], widths[fits[0]]
            top, left = int(u[k, 21] * (h - eh + 1)), int(u[k, 22] * (w - ew + 1))
            x[k, :, top : top + eh, left : left + ew] = 0
    return x


def color_jitter(pixels: Array, u: Array, strength: float) -> Array:
    """Random brightness, contrast and saturation: mix each image with black, its mean grey, and itself in grey.

    The factors are uniform in 1 ± ``strength``.  Each step is torchvision's; torchvision draws their order at random.

    Shapes: pixels (N, H, W, 3) uint8, u (N, 3) in [0, 1) → (N, H, W, 3) uint8.
    """
    x = pixels.astype(np.float32)
    factors = np.maximum(0, 1 + strength * (2 * u - 1)).astype(np.float32)[:, :, None, None, None]
    x = clipped(factors[:, 0] * x)
    x = mixed(x, grey(x).mean(axis=(1, 2, 3), keepdims=True), factors[:, 1])
    x = mixed(x, grey(x), factors[:, 2])
    return np.rint(x).astype(np.uint8)


def grey(x: Array) -> Array:
    """Luma, (…, 3) → (…, 1)."""
    return x @ LUMA


def mixed(x: Array, other: Array, factor: Array) -> Array:
    return clipped(factor * x + (1 - factor) * other)


def clipped(x: Array) -> Array:
    return np.clip(x, 0, 255)


def normalized(pixels: Array, preprocessing: Preprocessing) -> Array:
    """What ``preprocessing`` does after the crop, for many images at once, bit for bit.

    Shapes: pixels (N, H, W, 3) uint8 → (N, 3, H, W) float32, channels last in memory.
    """
    if preprocessing.channels == "BGR":
        pixels = pixels[..., ::-1]
    x = SCALES[preprocessing.scale](pixels.astype(np.float32))
    x = (x - np.asarray(preprocessing.mean, np.float32)) / np.asarray(preprocessing.std, np.float32)
    return x.transpose(0, 3, 1, 2)
