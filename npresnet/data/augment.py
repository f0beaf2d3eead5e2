"""Augmentation: other images of the same thing.

Each random number is a function of (seed, epoch, image, draw), not of a generator's past, so an epoch is the same
whoever prepares which image, and a run that goes on after a stop sees what it would have seen.

[V]  Vigna 2015, splitmix64.c, after Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators
[R1] He et al. 2015, arXiv:1512.03385, §4.2
[I]  Szegedy et al. 2014, Going deeper with convolutions, arXiv:1409.4842, §6
[M]  Zhang et al. 2017, mixup, arXiv:1710.09412
"""

import numpy as np
from PIL import Image

from ..backend import array_namespace
from .preprocessing import SCALES

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed, epoch, images, draws):
    """Random numbers in [0, 1), (len(images), draws): a hash of (seed, epoch, image, draw).           [V]"""
    xp = array_namespace(images)
    with np.errstate(over="ignore"):                                    # modulo 2⁶⁴ is what is meant
        key = scrambled(np.uint64(seed) + GOLDEN)
        key = scrambled(key ^ np.uint64(epoch) + GOLDEN)
        key = scrambled(xp.asarray(images, np.uint64) + GOLDEN ^ key)
        numbers = scrambled(key[:, None] + xp.arange(1, draws + 1, dtype=np.uint64) * GOLDEN)
    return (numbers >> np.uint64(11)) * 2.0**-53


def scrambled(z):
    """splitmix64's finalizer: every bit in changes about half of the bits out."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def crop_and_flip(pixels, u, pad=4):
    """[R1]'s: a random crop of the image framed by ``pad`` zeros, mirrored half of the time.

    Shapes: pixels (N, H, W, C), u (N, 3) → (N, H, W, C).
    """
    (n, h, w, _), xp = pixels.shape, array_namespace(pixels, u)
    framed = xp.pad(pixels, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    top, left = (u[:, :2] * (2 * pad + 1)).astype(int).T
    rows, columns = top[:, None] + xp.arange(h), left[:, None] + xp.arange(w)
    columns = xp.where(u[:, 2:] < 0.5, columns[:, ::-1], columns)
    return framed[xp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def resized_crop(image, u, side, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), tries=10):
    """A random part of one image, stretched to a square by Pillow, mirrored half of the time.    [I]

    The part has a share of the area uniform in ``scale`` and a log-uniform width/height in ``ratio``; where none of
    ``tries`` fits into the image it is the whole (torchvision takes the largest centred part with such a ratio).

    Shapes: image (H, W, 3) uint8, u (2·tries + 3,) → (side, side, 3) uint8.
    """
    h, w, _ = image.shape
    area = h * w * (scale[0] + (scale[1] - scale[0]) * u[:tries])
    aspect = np.exp(np.log(ratio[0]) + np.log(ratio[1] / ratio[0]) * u[tries:2 * tries])
    widths, heights = np.rint(np.sqrt(area * aspect)).astype(int), np.rint(np.sqrt(area / aspect)).astype(int)
    fits = np.flatnonzero((widths > 0) & (widths <= w) & (heights > 0) & (heights <= h))
    ch, cw = (heights[fits[0]], widths[fits[0]]) if len(fits) else (h, w)
    top, left = int(u[-3] * (h - ch + 1)), int(u[-2] * (w - cw + 1))
    part = Image.fromarray(image[top:top + ch, left:left + cw]).resize((side, side), Image.BILINEAR)
    return np.asarray(part)[:, ::-1] if u[-1] < 0.5 else np.asarray(part)


def color_jitter(pixels, u, strength):
    """Brightness, contrast and saturation, each mixed by a factor uniform in 1 ± strength with black, with the mean
    grey, and with the image's own grey.  torchvision's definitions, in this order; its order is random.

    Shapes: pixels (N, H, W, 3) uint8, u (N, 3) → the same.
    """
    x = pixels.astype(np.float32)
    factors = np.maximum(0, 1 + strength * (2 * u - 1)).astype(np.float32)[:, :, None, None, None]
    x = clipped(factors[:, 0] * x)
    x = mixed(x, grey(x).mean(axis=(1, 2, 3), keepdims=True), factors[:, 1])
    x = mixed(x, grey(x), factors[:, 2])
    return np.rint(x).astype(np.uint8)


def grey(x):
    """ITU-R BT.601 luma."""
    return x @ np.float32([[0.299], [0.587], [0.114]])


def mixed(x, other, factor):
    return clipped(factor * x + (1 - factor) * other)


def clipped(x):
    return np.clip(x, 0, 255)


def normalized(pixels, recipe):
    """What ``recipe`` does after the crop, for many images, bit for bit.

    Shapes: (N, H, W, 3) uint8 → (N, 3, H, W) float32, channels last in memory.
    """
    if recipe.channels == "BGR":
        pixels = pixels[..., ::-1]
    x = SCALES[recipe.scale](pixels.astype(np.float32))
    x = (x - np.float32(recipe.mean)) / np.float32(recipe.std)
    return x.transpose(0, 3, 1, 2)


def mix_up(x, share):
    """share · x + (1 − share) · its mirror in the batch; the labels' losses are mixed likewise.          [M]"""
    share = x.dtype.type(share)
    return share * x + (1 - share) * x[::-1]
