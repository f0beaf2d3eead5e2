"""Heat maps laid over photos, at the photo's resolution; needs Pillow."""

from typing import Any

import numpy as np
from PIL import Image

from ..backend import Array
from ..data import preprocessing_of, read_image
from .cam import resized

COLOURS = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], float)  # dark … light


def seen(source: Any, model_or_preset: Any) -> Image.Image:
    """The part of an image that a network is given: the centre that its preprocessing crops, at full resolution."""
    image, preprocessing = read_image(source), preprocessing_of(model_or_preset)
    if preprocessing.crop is None:
        return image
    small = preprocessing.resized_size(image) or image.size
    scale = np.array(image.size) / small
    corner = np.array([round((length - preprocessing.crop) / 2.0) for length in small])
    left, top, right, bottom = np.concatenate([corner * scale, (corner + preprocessing.crop) * scale]).tolist()
    return image.crop((round(left), round(top), round(right), round(bottom)))


def overlay(image: Image.Image, heat: Any, strength: float = 0.6) -> Image.Image:
    """The image, grey, with a heat map (h, w) over it: dark where there is nothing, light where it is strongest.

    pixel = (1 − a) · grey + a · colour(heat)        a = strength · (½ + ½ heat)
    """
    heat = resized(np.asarray(heat)[None], (image.height, image.width))[0].clip(0, 1)[..., None]
    grey = np.asarray(image.convert("L"), np.float32)[..., None]
    a = strength * (0.5 + 0.5 * heat)
    return Image.fromarray(((1 - a) * grey + a * colour(heat[..., 0])).round().astype(np.uint8))


def colour(heat: Array) -> Array:
    """Numbers in [0, 1] to RGB in [0, 255], linear between :data:`COLOURS`.  (…) → (…, 3)"""
    stops = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(heat, stops, channel) for channel in COLOURS.T], axis=-1)
