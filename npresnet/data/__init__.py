"""Everything up to a batch: reading images, preprocessing, augmentation, datasets, class names.

Names that need Pillow load it when they are first used: a model can be made and run where only NumPy is installed.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ImageError
from .labels import class_names, match_classes

if TYPE_CHECKING:
    from .folder import ImageFolder
    from .images import example_image, read_image
    from .preprocessing import PRESETS, Preprocessing, preprocess, preprocessing_of

_HOME = {
    "ImageFolder": "folder",
    "PRESETS": "preprocessing",
    "Preprocessing": "preprocessing",
    "example_image": "images",
    "preprocess": "preprocessing",
    "preprocessing_of": "preprocessing",
    "read_image": "images",
}
_RENAMED = {"recipe_of": "preprocessing_of"}

__all__ = [
    "PRESETS",
    "ImageError",
    "ImageFolder",
    "Preprocessing",
    "class_names",
    "example_image",
    "match_classes",
    "preprocess",
    "preprocessing_of",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"{__name__}.{name} is now called {_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        name = _RENAMED[name]
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
