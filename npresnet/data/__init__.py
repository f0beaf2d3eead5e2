"""Images to arrays: reading, preprocessing, data sets, class names.

Names that need Pillow load it when they are first used: a model can be made and run where only NumPy is installed.
"""

from importlib import import_module

from .errors import ImageError
from .labels import class_names, match_classes

_HOME = {"ImageFolder": "folder", "PRESETS": "preprocessing", "Preprocessing": "preprocessing",
         "preprocess": "preprocessing", "read_image": "images", "recipe_of": "preprocessing"}

__all__ = ["PRESETS", "ImageError", "ImageFolder", "Preprocessing", "class_names", "match_classes", "preprocess",
           "read_image", "recipe_of"]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
