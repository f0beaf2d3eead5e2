"""Images to arrays: reading, preprocessing, data sets, class names."""

from .folder import ImageFolder
from .images import ImageError, read_image
from .labels import class_names, match_classes
from .preprocessing import PRESETS, Preprocessing, preprocess, recipe_of

__all__ = ["PRESETS", "ImageError", "ImageFolder", "Preprocessing", "class_names", "match_classes", "preprocess",
           "read_image", "recipe_of"]
