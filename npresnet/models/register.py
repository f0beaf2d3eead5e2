"""Layers from outside the package, made known to files."""

from typing import Any

from .. import nn
from ..nn.module import Model
from .changes import CLASSES, LAYERS, OURS, channels, flag, number

KINDS: dict[type, Any] = {int: channels, float: number, bool: flag}  # of the options of layers from elsewhere


def register_layer(kind: type[Model], **options: type) -> type[Model]:
    """Let :func:`save_weights` write networks that hold layers of this class, and :func:`load_model` read them again.

        register_layer(LayerScale, channels=int)

    A file then holds the class's name and the values of its ``options``: the arguments of its constructor, which its
    instances keep as attributes of the same names, each an int (0 to 4096), a float or a bool.  Whoever reads the file
    must have registered a class of that name before: nothing in a file is imported or executed.  The class is returned,
    so that this may stand behind its definition; a later one of the same name takes its place.

    Raises TypeError for what is no class of Modules or no such type; ValueError for a name of this package's layers.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise TypeError(f"register_layer takes a class of Modules, not {kind!r}")
    if kind.__name__ in OURS:
        raise ValueError(f"{kind.__name__} is a layer of this package; give your class another name")
    unknown = [name for name, value in options.items() if value not in KINDS]
    if unknown:
        raise TypeError(f"an option is an int, a float or a bool: not {', '.join(unknown)}")
    LAYERS.pop(CLASSES.get(kind.__name__, kind), None)
    LAYERS[kind], CLASSES[kind.__name__] = {name: KINDS[value] for name, value in options.items()}, kind
    return kind
