"""Files of quantized networks: our own safetensors and ONNX, out and in; torchvision's .pth and others' ONNX, in."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..formats.containers import read_tree
from ..formats.errors import WeightsError, checked_path, error_context, only_weights_errors
from ..formats.memory import Memory
from ..formats.onnx.graph import Parser
from ..formats.onnx.quantized import is_quantized
from ..formats.onnx.read import is_onnx
from ..formats.stream import Budget
from ..formats.tensors import QUANTIZED, Tensor
from ..formats.torch.allowlist import TORCH_GLOBALS
from ..models import build
from ..models.classifier import Classifier
from ..nn import placeholders
from ..ops.check import IntOrPair
from ..weights import save_weights
from ..weights.metadata import parse_metadata
from ..weights.recognise import from_metadata
from .find import Quantized, check_windows, find_quantized
from .lower import lower
from .network import QuantizedNetwork, assemble
from .onnx_read import network_of_graph
from .onnx_write import OPSET, save_quantized_onnx
from .torchvision import torchvision_arrays, torchvision_model


def save_quantized(
    network: QuantizedNetwork, path: str | os.PathLike[str], *, size: IntOrPair | None = None, opset: int | None = None
) -> Path:
    """Write a quantized network as .safetensors, .npz or .pth: its arrays, and how the model was built; or as .onnx.

    ``size`` and ``opset`` are for .onnx: onnx_write.py.  The file appears complete or not at all.  Raises WeightsError,
    in the other formats also for a network that was not built by name, or was changed after that.
    """
    if not isinstance(network, QuantizedNetwork):
        raise WeightsError(f"a quantized network is written, not a {type(network).__name__}; quantize() makes one")
    if str(path).lower().endswith(".onnx"):
        return save_quantized_onnx(network, path, size=size, opset=opset or OPSET)
    if not network.metadata or parse_metadata(network.metadata).get("changes"):
        raise WeightsError(f"{path}: only a network that is as it was built by name is written")
    return save_weights(network.arrays(), path, metadata={QUANTIZED: network.metadata})


def load_quantized(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """The quantized network in a file that :func:`save_quantized` wrote, or that torch.save wrote of torchvision's.

    torchvision's are those of torchvision.models.quantization: resnet18, resnet50, resnext101_32x8d, resnext101_64x4d;
    a state dict, also in a dictionary of a training run or with "module." before its keys, or the whole network.  So is
    an ONNX graph in the form QDQ, our own or one that ONNX Runtime's static quantization made: onnx_read.py.
    Nothing in the file is executed, and memory is bounded as in read_weights.  Raises WeightsError.
    """
    path = checked_path(path)
    with error_context(path):
        memory = Memory(path)
        with only_weights_errors():
            return network_in(memory.view)


def network_in(data: memoryview) -> QuantizedNetwork:
    """The same for a file's bytes; what they hold may raise any exception."""
    budget = Budget(len(data))
    found = source(data, budget)
    if found is None:
        raise WeightsError("holds no quantized network that is known: npresnet quantize makes one of a float model")
    return found()


def holds_quantized(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds a quantized network, be it one that is read here or not; no for what is no file of weights.

    Nothing of the file is kept.
    """
    path = checked_path(path)
    if not path.is_file():
        return False
    try:
        memory = Memory(path)
        with only_weights_errors():
            return source(memory.view, Budget(len(memory.view))) is not None
    except WeightsError:
        return False


def source(data: memoryview, budget: Budget) -> Callable[[], QuantizedNetwork] | None:
    """What makes the quantized network in a file's bytes; None where they hold none."""
    if is_onnx(data):
        graph = Parser(budget).model(data)
        return partial(network_of_graph, graph, budget, described_model) if is_quantized(graph) else None
    _, tree, metadata = read_tree(data, budget, TORCH_GLOBALS)
    if found := find_quantized(tree):
        return partial(of_torchvision, found, budget)
    text = {**attributes(tree), **metadata}.get(QUANTIZED)
    return partial(of_ours, tree, text, budget) if type(text) is str else None


def of_torchvision(found: Quantized, budget: Budget) -> QuantizedNetwork:
    """The network of a state dict that PyTorch wrote."""
    arrays = torchvision_arrays(found.entries, budget)
    model = torchvision_model(arrays)
    check_windows(found.layers, model)
    return assemble(lower(model), arrays, model)


def of_ours(tree: Mapping[str, Any], text: str, budget: Budget) -> QuantizedNetwork:
    """The network that save_quantized wrote, with the text that says how it was built."""
    arrays = {key: value.array(budget) for key, value in tree.items() if isinstance(value, Tensor)}
    model = described_model(text, {key: array.shape for key, array in arrays.items()})
    return assemble(lower(model), arrays, model)


def attributes(tree: Any) -> dict[Any, Any]:
    """The texts that a .pth of ours has beside its arrays."""
    return dict(getattr(tree, "attributes", {}) or {})


def described_model(text: str, shapes: dict[str, tuple[int, ...]]) -> Classifier:
    """The float network that the metadata describe, without its numbers."""
    fields = parse_metadata(text)
    found = from_metadata(fields, shapes)
    if found.changes:
        raise WeightsError("the network was changed after it was built, which is not read")
    with placeholders():
        model = build(
            found.name, found.num_classes, in_channels=found.in_channels, dialect=found.dialect, **found.options
        )
    model.preprocessing, model.classes = found.preprocessing or model.preprocessing, found.classes
    return model
