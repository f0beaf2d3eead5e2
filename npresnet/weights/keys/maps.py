"""The table of other libraries' names for the same arrays, each with its translation to torchvision's."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...formats.errors import WeightsError
from ...formats.keras import CONFIG
from ...formats.state import State
from ...formats.stream import Budget
from ...formats.tensors import KEY, QUANTIZED
from ...models.structure import BLOCK
from ..checkpoint import Checkpoint
from ..match.translate import norm_place
from ..pairs import merge_pairs
from .huggingface import is_huggingface, torchvision_name
from .keras import from_keras, is_keras, keras_dialect
from .keras_graph import keras_state
from .structural import NamedArrays, by_structure


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


KNOWN = ("format", "metadata", "notes", "layers", "sha256", "path")
CONVOLUTION = re.compile(r"(conv1(\.[036])?|layer\d\.\d{1,4}\.(conv\d|downsample\.[01]))\.weight")
TORCHVISION = re.compile(
    r"((conv1|maxpool)(\.\d)?|bn1?|layer\d\.\d{1,4}\.(conv\d|bn\d|downsample(\.\d)?|se\.(conv|fc\d))|fc)\."
    r"(weight|bias|running_mean|running_var|num_batches_tracked)"
)


def is_torchvision(arrays: Mapping[str, Any]) -> bool:
    """Whether the arrays are those of a whole network under torchvision's names, or timm's, none more and none less."""
    convs = [key for key in arrays if CONVOLUTION.fullmatch(key) and np.ndim(arrays[key]) == 4]
    if "layer1.0.conv1.weight" not in arrays or not all(TORCHVISION.fullmatch(key) for key in arrays):
        return False
    arrays = {key: array for key, array in arrays.items() if not key.startswith("maxpool.")}  # a convolution's
    blocks = {(int(found[1]), int(found[2])) for key in arrays if (found := BLOCK.match(key))}
    if any(number and (stage, number - 1) not in blocks for stage, number in blocks):
        return False  # other layers stand between the blocks
    norms = {key.removesuffix(".running_mean") for key in arrays if key.endswith(".running_mean")}
    named = {key.removesuffix(".weight") for key in convs}
    biases = {conv for conv in named if f"{conv}.bias" in arrays}
    return (
        {norm_place(conv) for conv in named} == norms
        and all(f"{norm}.{part}" in arrays for norm in norms for part in ("weight", "bias", "running_var"))
        and all(
            np.shape(arrays[f"{norm_place(conv)}.weight"]) == np.shape(arrays[f"{conv}.weight"])[:1] for conv in named
        )
        and biases in (named, {"conv1"} & named, set())
        and ("fc.bias" in arrays and np.ndim(arrays["fc.weight"]) == 2 if "fc.weight" in arrays else True)
    )


def torchvision_keys(arrays: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the arrays under torchvision's names, notes), as ``named_arrays`` says."""
    named = named_arrays(arrays)
    return named.arrays, named.notes


def named_arrays(arrays: Mapping[str, Any]) -> NamedArrays:
    """The arrays under torchvision's names: by a library's names where those are known, else by their structure.

    The arrays themselves are not copied, but for some that are joined or turned.  Raises WeightsError where the blocks
    of a network are found and other layers of it have no place; what holds no network stays as it is.
    """
    named = getattr(arrays, "named", None)
    if named is not None:
        return named
    unnamed = next((key for key in arrays if not isinstance(key, str)), None)
    if unnamed is not None:
        raise WeightsError(f"an array is named by a {type(unnamed).__name__}, not by a string")
    merged, merging = merge_pairs(arrays)
    if merging:
        named = named_arrays(like(arrays, merged))
        return named._replace(notes=[*merging, *named.notes])
    if is_torchvision(arrays):
        return NamedArrays(dict(arrays), [])
    config = getattr(arrays, "metadata", {}).get(CONFIG)
    if config:
        budget = Budget(len(config) + sum(array.nbytes for array in arrays.values()))
        graph = keras_state(config, arrays, budget)
        if graph is not None:
            return of_graph(arrays, graph, budget)
    key_map = key_map_of(arrays)
    if key_map is not None:
        try:
            renamed = key_map.translate(arrays)
        except WeightsError:
            if getattr(arrays, "format", "").startswith("keras"):
                raise
            return by_structure(arrays)
        if len(renamed) != len(arrays):
            raise WeightsError(f"two keys have one name once translated from {key_map.name}")
        if not is_torchvision(renamed) and key_map.name != "Keras":
            return by_structure(arrays)._replace(dialect=key_map.dialect(arrays))
        return NamedArrays(renamed, [f"translated the keys of {key_map.name}"], key_map.dialect(arrays))
    metadata = getattr(arrays, "metadata", {})
    if KEY in metadata:  # save_weights wrote these names
        return NamedArrays(dict(arrays), [])
    if QUANTIZED in metadata:
        raise WeightsError(
            "a quantized network: npresnet.load_quantized() reads it, npresnet classify and evaluate run it"
        )
    return by_structure(arrays)


def of_graph(arrays: Mapping[str, Any], graph: State, budget: Budget) -> NamedArrays:
    """The arrays of a Keras model whose configuration lists the graph, by their places in it; no two share memory."""
    seen, found = set(), {}
    for key, tensor in graph.items():  # of a layer that is called twice, or has a constant for two of its arrays
        found[key] = tensor.array(budget) if id(tensor.storage) in seen else tensor.view()
        seen.add(id(tensor.storage))
    same = like(arrays, found)
    same.layers = graph.layers
    named = by_structure(same)
    dialect = "keras" if keras_dialect(arrays) == "keras" else named.dialect
    return named._replace(
        notes=["followed the graph in the model's configuration"], dialect=dialect, layers=graph.layers
    )


def resolved(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint under torchvision's names, found once for all that follows; its arrays are not copied."""
    named = named_arrays(checkpoint)
    same = like(checkpoint, named.arrays)
    same.notes += named.notes
    same.named = named._replace(notes=[])
    return same


def like(arrays: Mapping[str, Any], others: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint of other arrays, of which all else is known that is known of ``arrays``."""
    known = {name: getattr(arrays, name) for name in KNOWN if hasattr(arrays, name)}
    return Checkpoint(others, **known)
