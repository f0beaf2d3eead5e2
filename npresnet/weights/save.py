"""save_weights: writes arrays and metadata as .safetensors, .npz or .pth."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..formats.atomic import atomic_write
from ..formats.containers import WRITERS
from ..formats.errors import WeightsError, checked_path, error_context, quoted
from ..formats.tensors import KEY
from ..nn import Module
from .metadata import model_metadata, parse_metadata
from .portable import portable
from .recognise import from_metadata

STRINGS = "metadata must be a mapping from strings to strings"


def save_weights(
    model: Module | Mapping[str, Any], path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a model's arrays, or a mapping name → array, to ``path``; its suffix chooses the container.

    .safetensors   the metadata is the header's __metadata__
    .npz           … entries of text, such as "npresnet"
    .pth, .pt      … attributes, such as ``npresnet``, of the OrderedDict that torch.load(path, weights_only=True)
                   returns, so that it stays a plain state dict for load_state_dict

    A model's metadata are its spec, preprocessing and class names, a Checkpoint's those of its file; ``metadata`` adds
    to them.  The file appears complete or not at all.  Raises WeightsError.

    >>> import npresnet, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "small.safetensors")
    >>> _ = npresnet.save_weights(npresnet.create_model("resnet20", num_classes=4), path)
    >>> npresnet.load_model(path).spec.num_classes
    4
    """
    path = checked_path(path)
    with error_context(path):
        if not isinstance(model, (Mapping, Module)):
            raise WeightsError(f"a model or a mapping name → array is written, not a {type(model).__name__}")
        if not isinstance(metadata, (Mapping, type(None))):
            raise WeightsError(STRINGS)
        arrays = model if isinstance(model, Mapping) else model.state_dict()
        if isinstance(model, Mapping):
            texts = dict(getattr(model, "metadata", None) or {})
        else:
            texts = checked_metadata(model, arrays)
        texts |= metadata or {}
        if not path.parent.is_dir():
            raise WeightsError(f"there is no folder {path.parent}; make it first")
        if any(type(text) is not str for item in texts.items() for text in item):
            raise WeightsError(STRINGS)
        lone = next((text for item in (*texts.items(), arrays) for text in item if not is_text(text)), None)
        if lone is not None:
            raise WeightsError(f"{quoted(lone)} holds half a character (a lone surrogate), which no file can")
        writer = WRITERS.get(path.suffix.lower())
        if writer is None:
            raise WeightsError(f"weights are written as {', '.join(WRITERS)}, not {path.suffix!r}; change the suffix")
        if not arrays:
            raise WeightsError("there is no array to write; give a model or its state_dict()")
        arrays = {name: portable(name, value) for name, value in arrays.items()}
        with atomic_write(path) as file:
            writer(file, arrays, texts)
    return path


def checked_metadata(model: Module, arrays: Mapping[str, Any]) -> dict[str, str]:
    """A model's metadata, which load_model would accept beside these arrays."""
    texts = model_metadata(model)
    if texts:
        from_metadata(parse_metadata(texts[KEY]), {name: np.shape(array) for name, array in arrays.items()})
    return texts


def is_text(value: object) -> bool:
    """Whether it can be encoded; other objects than texts are refused elsewhere."""
    return type(value) is not str or value.encode("utf-8", "replace") == value.encode("utf-8", "surrogatepass")
