"""Ten photos, and a small dataset of patches of them, for lessons that need no download."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..backend import Array

PHOTOS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "retina",
    "rocket",
)


def photo(name: str) -> Array:
    """One of :data:`PHOTOS`, its shorter side 160 pixels: (H, W, 3) uint8.  Where they are from: photos/README.txt."""
    with Image.open(Path(__file__).parent / "photos" / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))


def photo_patches(count: int, size: int = 16, seed: int = 0, held_out: bool = False) -> tuple[Array, Array]:
    """A small dataset that needs no download: patches of ten photos, whose class is the photo.

    The patches are squares of the upper three quarters of each photo, or with ``held_out`` of the lower quarter, so
    that the two share no pixel.  The classes are :data:`PHOTOS`, in turn.

    Shapes: → pixels (count, size, size, 3) uint8, labels (count,) int64.
    """
    rng = np.random.default_rng((seed, held_out))
    labels = np.arange(count) % len(PHOTOS)
    photos = [photo(name) for name in PHOTOS]
    pixels = np.empty((count, size, size, 3), np.uint8)
    for patch, label in zip(pixels, labels):
        whole = photos[label]
        border = len(whole) * 3 // 4
        part = whole[border:] if held_out else whole[:border]
        top, left = (rng.integers(0, length - size + 1) for length in part.shape[:2])
        patch[:] = part[top : top + size, left : left + size]
    return pixels, labels
