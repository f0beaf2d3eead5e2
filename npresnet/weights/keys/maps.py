"""The table of other libraries' names for the same arrays, each with its translation to torchvision's."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ...formats.errors import WeightsError
from .huggingface import is_huggingface, torchvision_name
from .keras import from_keras, is_keras, keras_dialect


class KeyMap(NamedTuple):
    """A library: whether keys are its own, the translation of a checkpoint, and the dialect that such keys mean."""

    name: str
    applies: Callable[[Collection[str]], bool]
    translate: Callable[[Mapping[str, Any]], dict[str, Any]]
    dialect: Callable[[Mapping[str, Any]], str] = lambda arrays: "torchvision"


def renaming(rename: Callable[[str], str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A translation that changes every name by itself, and no array."""
    return lambda arrays: {rename(key): array for key, array in arrays.items()}


KEY_MAPS = (  # the first that applies is used
    KeyMap(
        "CIFAR checkpoints (linear for fc)",  # Idelbayev's pytorch_resnet_cifar10
        lambda keys: "linear.weight" in keys and "fc.weight" not in keys,
        renaming(lambda key: re.sub(r"^linear\.", "fc.", key)),
    ),
    KeyMap("Hugging Face", is_huggingface, renaming(torchvision_name), lambda arrays: "huggingface"),
    KeyMap(
        "the PyTorch tutorial (identity_downsample)",
        lambda keys: any(".identity_downsample." in key for key in keys),
        renaming(lambda key: key.replace(".identity_downsample.", ".downsample.")),
        lambda arrays: "pytorch-tutorial",
    ),
    KeyMap("Keras", is_keras, from_keras, keras_dialect),
)


def key_map_of(arrays: Mapping[str, Any]) -> KeyMap | None:
    """The library whose keys these are, or None for torchvision's."""
    return next((key_map for key_map in KEY_MAPS if key_map.applies(arrays.keys())), None)


def torchvision_keys(arrays: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the arrays under torchvision's names, notes).  The arrays themselves are not copied.  Raises WeightsError."""
    unnamed = next((key for key in arrays if not isinstance(key, str)), None)
    if unnamed is not None:
        raise WeightsError(f"an array is named by a {type(unnamed).__name__}, not by a string")
    key_map = key_map_of(arrays)
    if key_map is None:
        return dict(arrays), []
    renamed = key_map.translate(arrays)
    if len(renamed) != len(arrays):
        raise WeightsError(f"two keys have one name once translated from {key_map.name}")
    return renamed, [f"translated the keys of {key_map.name}"]
