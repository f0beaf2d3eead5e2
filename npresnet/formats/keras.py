"""Reads Keras's three files [K]: ``.h5``, ``.weights.h5`` and ``.keras``, a zip of ``.weights.h5`` and a configuration.

All become name → array in the order of the file, the names "layer/kernel", "layer/bias", "layer/gamma" …, the arrays
as Keras lays them out (a convolution's kernel is HWIO); npresnet/weights/keys/keras.py translates both.  Of the
configuration, JSON, names alone are read here; npresnet/weights/keys/keras_graph.py follows its graph.  Layers other
than convolutions, batch norms and dense ones, names given twice, and arrays that are listed but absent are refused.

Any other HDF5 file is a tree of datasets, each called by its path.

[K] keras/src/legacy/saving/legacy_h5_format.py and keras/src/saving/saving_lib.py
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, TypeVar

from .errors import WeightsError, quoted
from .hdf5.attributes import attribute, strings, text
from .hdf5.objects import Object
from .hdf5.tree import is_numeric, rank, tensor, tree
from .stream import Budget, parse_json
from .tensors import KEY, Tensor
from .zip_archive import ZipArchive

T = TypeVar("T")

ROLES = {
    (4,): ("kernel",),
    (4, 1): ("kernel", "bias"),
    (2,): ("kernel",),
    (2, 1): ("kernel", "bias"),
    (1, 1, 1, 1): ("gamma", "beta", "moving_mean", "moving_variance"),
}
CONFIG = "keras_config"


def read_keras(archive: ZipArchive, budget: Budget) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(name → Tensor, metadata) of a .keras file."""
    config = archive.read("config.json")
    budget.spend(5 * len(config), "the configuration, as text")
    return read_hdf5(archive.read("model.weights.h5"), budget, bytes(config).decode("utf-8"))[1:]


def read_hdf5(
    data: memoryview, budget: Budget, config: str | None = None
) -> tuple[str, dict[str, Tensor], dict[str, str]]:
    """(format, name → Tensor, metadata) of an .h5 or .weights.h5 file, or of one that h5py wrote without Keras."""
    root, found = tree(data, budget)
    prefix = "model_weights/" if "model_weights" in found else ""
    top = found.get("model_weights", root)
    if attribute(top, "layer_names"):
        config = config or text(root, "model_config")
        datasets = dict(listed_datasets(found, top, prefix))
    elif any(member.is_dataset and "/vars/" in path for path, member in found.items()):
        datasets = grouped_datasets(found, config, budget)
    else:
        numeric = {path: member for path, member in found.items() if member.is_dataset and is_numeric(member)}
        return "hdf5", {path: tensor(member, path) for path, member in numeric.items()}, {}
    metadata = {key: value for key, value in ((KEY, text(root, KEY)), (CONFIG, config)) if value}
    return "keras h5", {name: tensor(dataset, name) for name, dataset in datasets.items()}, metadata


def listed_datasets(found: dict[str, Object], top: Object, prefix: str) -> Iterator[tuple[str, Object]]:
    """(name, dataset) in an .h5: ``layer_names`` lists the layers, ``weight_names`` of each "conv1_conv/kernel:0" …"""
    for layer in strings(top, "layer_names"):
        group = found.get(prefix + layer)
        if group is None or attribute(group, "weight_names") is None:
            raise WeightsError(f"the layer {quoted(layer)} is listed and not there")
        for weight in strings(group, "weight_names"):
            dataset = found.get(f"{prefix}{layer}/{weight}")
            if dataset is None or not dataset.is_dataset:
                raise WeightsError(f"the array {quoted(weight)} is listed and not there")
            yield f"{layer}/{weight.split(':')[0]}", dataset


def grouped_datasets(found: dict[str, Object], config: str | None, budget: Budget) -> dict[str, Object]:
    """name → dataset in a .weights.h5: the arrays of a layer lie in a group ``vars`` as "0", "1" …

    The layer's name is an attribute there, or stands in the configuration.
    """
    layers = defaultdict(list)
    for path, member in found.items():
        layer = re.fullmatch(r"(.+)/vars/\d{1,2}", path)
        if layer and member.is_dataset and not path.startswith("optimizer/"):
            layers[layer[1]].append(member)
    from_config = config_names(config, budget) if config else {}
    names = {path: text(found[f"{path}/vars"], "name") or from_config.get(path, path) for path in layers}
    if len(set(names.values())) != len(names):
        raise WeightsError("two of its layers have one name")
    datasets = {}
    for path, arrays in layers.items():
        roles = ROLES.get(tuple(map(rank, arrays)))
        if roles is None:
            raise WeightsError(f"{quoted(names[path])} is no convolution, batch norm or dense layer")
        datasets.update({f"{names[path]}/{role}": member for role, member in zip(roles, arrays)})
    return datasets


def config_names(config: str, budget: Budget) -> dict[str, str]:
    """{"layers/conv2d_1": "conv2_block1_1_conv"}: the second Conv2D of a functional model, by its real name."""
    counts, names = Counter(), {}
    for layer in config_layers(config, budget):
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"\W+", "", layer["class_name"])).lower()
        names[f"layers/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")] = layer["config"]["name"]
        counts[kind] += 1
    return names


def config_layers(config: str, budget: Budget | None = None) -> list[dict[str, Any]]:
    """The layers of a functional model's configuration; none for another kind of model."""
    document = parse_json(config, "the model's configuration", budget)
    if not isinstance(document, dict):
        raise WeightsError("the model's configuration is no JSON object")
    layers = typed_item(typed_item(document, "config", dict), "layers", list)
    return [
        layer
        for layer in layers
        if typed_item(layer, "class_name", str) and typed_item(typed_item(layer, "config", dict), "name", str)
    ]


def typed_item(value: Any, key: str, kind: type[T]) -> T:
    """``value[key]`` where it is of that type, else an empty one: a configuration may hold anything."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, kind) else kind()


def ends_in_scores(config: str) -> bool | None:
    """Whether the configuration's last dense layer has no activation; None where it does not say."""
    dense = [layer["config"].get("activation") for layer in config_layers(config) if layer["class_name"] == "Dense"]
    return dense[-1] == "linear" if dense and isinstance(dense[-1], str) else None
