"""Reads a quantized ONNX graph in the form QDQ: our own by its metadata, any other's by its graph.

Symmetric int8 activations become uint8 by 128 more, as their zero points do.  A mean over the image keeps the scale of
what it reads, as everywhere in this package, though other programs give it another; and between a convolution and its
ReLU nothing is rounded.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..backend import Array
from ..formats.errors import WeightsError, error_context, quoted
from ..formats.onnx.graph import Graph, Node
from ..formats.onnx.layers import state_of
from ..formats.onnx.quantized import Levels, Stripped, stripped
from ..formats.onnx.resolve import Resolver
from ..formats.stream import Budget
from ..formats.tensors import QUANTIZED, Tensor
from ..models import build
from ..models.classifier import Classifier
from ..nn import placeholders
from ..weights.checkpoint import Checkpoint
from ..weights.keys.maps import resolved
from ..weights.recognise import recognise
from ..weights.recorded import parts_by_path
from .float_step import INPUT
from .lower import lower
from .network import QuantizedNetwork, assemble, is_weighted

WEIGHTED = ("Conv", "Gemm", "MatMul")
SIGNED = 128  # from the first level of int8 to that of uint8


FOLD = "fold the batch norms first: onnxruntime.quantization.shape_inference.quant_pre_process, npresnet convert --fold"


class Rounded(NamedTuple):
    """An operator that makes sums, and the value that is rounded behind it."""

    node: Node
    value: str


def network_of_graph(
    graph: Graph, budget: Budget, described: Callable[[str, dict[str, tuple[int, ...]]], Classifier]
) -> QuantizedNetwork:
    """The quantized network; ``described(text, shapes)`` is the float network that metadata of ours describe.

    Raises WeightsError where no network of the family has such a graph, or integers of other kinds are in it.
    """
    found, text = stripped(graph), graph.texts.get(QUANTIZED)
    resolver = Resolver(found.graph, budget)
    sums = list(rounded(resolver))
    shapes = {name: tensor.size for name, tensor in graph.arrays.items()}
    model = described(text, shapes) if text else recognised(found.graph, budget)
    steps = lower(model)
    wanted = [step for step in steps if step.has_scale]
    if len(wanted) != len(sums):
        raise WeightsError(f"{len(sums)} operators of it make sums, of {model.spec.name} {len(wanted)} do")
    reading = Reading(found, resolver, budget)
    arrays = reading.levels(INPUT, next(iter(found.graph.inputs), ""))
    for step, (node, value) in zip(wanted, sums):
        arrays |= reading.levels(step.name, value)
        if is_weighted(step):
            with error_context(quoted(step.name)):
                arrays |= reading.weights(step.name, node)
    return assemble(steps, arrays, model)


def rounded(resolver: Resolver) -> Iterator[Rounded]:
    """The operators that make sums, in the order in which they run; behind them, their ReLU."""
    nodes = resolver.order()
    relu = {node.inputs[0]: node.outputs[0] for node in nodes if node.kind in ("Relu", "Clip")}
    for node in nodes:
        joins = node.kind == "Add" and len(resolver.data(node)) == 2
        if node.kind in ("BatchNormalization", "Mul", "Sub", "Div") or (node.kind == "Add" and not joins):
            raise WeightsError(f"it computes with constants ({node.kind}) between its convolutions; {FOLD}")
        if joins or node.kind in WEIGHTED:
            value = node.outputs[0]
            yield Rounded(node, relu.get(value, value))


def recognised(graph: Graph, budget: Budget) -> Classifier:
    """The network of the family whose float graph it is; of its arrays only the shapes are looked at."""
    state = state_of(graph, budget)
    arrays = {name: np.broadcast_to(np.float32(1), tensor.size) for name, tensor in state.items()}
    found = recognise(resolved(Checkpoint(arrays, format="onnx", metadata=graph.texts, layers=state.layers)))
    options = {key: value for key, value in found.options.items() if key != "conv_bias"}  # that of folded norms
    with placeholders():
        model = build(found.name, found.num_classes, in_channels=found.in_channels, dialect=found.dialect, **options)
    parts = parts_by_path(model)
    for change in found.changes:
        if not folded(change, parts.get(change["path"])):
            raise WeightsError(f"its layer {quoted(change['path'])} is none of {found.name}'s, which is not read")
    model.preprocessing, model.classes = found.preprocessing or model.preprocessing, found.classes
    return model


def folded(change: dict[str, Any], part: nn.Module | None) -> bool:
    """Whether a layer differs from the model's only by a batch norm that is folded into a convolution, as all are."""
    if isinstance(part, nn.BatchNorm2d):
        return change["class"] == "Identity"
    return isinstance(part, nn.Conv2d) and change["class"] == "Conv2d" and change["options"] == part.window()


class Reading:
    """Makes arrays of what a graph stores, under the names of :meth:`.QuantizedNetwork.arrays`."""

    def __init__(self, found: Stripped, resolver: Resolver, budget: Budget):
        self.found, self.constants, self.budget = found, resolver.constants, budget

    def array(self, tensor: Tensor) -> Array:
        return tensor.array(self.budget)

    def levels(self, name: str, value: str) -> dict[str, Array]:
        """The scale and the zero point of a value, as those of uint8."""
        levels = self.found.values.get(value)
        if levels is None:
            raise WeightsError(f"{quoted(value)} is not quantized; only networks whose every layer is are read")
        scale, zero_point = self.array(levels.scale), self.zero_point(levels)
        if scale.dtype != np.float32 or scale.size != 1 or zero_point.size != 1:
            raise WeightsError(f"{quoted(value)} needs one scale of float32 and one zero point")
        return {f"{name}.scale": scale.reshape(()), f"{name}.zero_point": zero_point.reshape(())}

    def zero_point(self, levels: Levels) -> Array:
        """As int64, of the levels of uint8."""
        if levels.zero_point is None:
            return np.zeros((), np.int64)
        found = self.array(levels.zero_point)
        if found.dtype not in (np.uint8, np.int8):
            raise WeightsError(f"its integers are {found.dtype}; those of 8 bits are read")
        return found.astype(np.int64) + SIGNED * (found.dtype == np.int8)

    def weights(self, name: str, node: Node) -> dict[str, Array]:
        """The integers of an operator, the scale of each filter, and the bias as real numbers."""
        tensor, levels = self.stored(node, 1)
        if levels is None:
            raise WeightsError("its weights are not quantized")
        w = self.array(tensor)
        turned = node.kind != "Conv" and not node.attributes.get("transB")
        if w.dtype == np.uint8:
            w = (w.astype(np.int16) - SIGNED).astype(np.int8)
        if (self.zero_point(levels) != SIGNED).any():
            raise WeightsError("weights with a zero point other than 0 are not read; quantize them symmetrically")
        scale = self.array(levels.scale).reshape(-1)
        axis = levels.axis % max(w.ndim, 1)
        if w.ndim == 0 or (scale.size != 1 and (axis != int(turned) or scale.size != w.shape[axis])):
            raise WeightsError("its weights have scales, but not one for each filter")
        w = np.ascontiguousarray(w.T) if turned else w
        scale = np.full(len(w), scale, np.float32)
        return {f"{name}.weight": w, f"{name}.weight_scale": scale, f"{name}.bias": self.bias(node, len(w))}

    def bias(self, node: Node, filters: int) -> Array:
        """Real numbers: the integers of 32 bits times their scales."""
        if len(node.inputs) < 3 or not node.inputs[2]:
            return np.zeros(filters, np.float32)
        tensor, levels = self.stored(node, 2)
        b = self.array(tensor).reshape(-1)
        if levels is None:
            return b.astype(np.float32)
        if b.dtype != np.int32 or (levels.zero_point is not None and self.array(levels.zero_point).any()):
            raise WeightsError("a bias is of int32 with the zero point 0")
        return (b * self.array(levels.scale).reshape(-1).astype(np.float64)).astype(np.float32)

    def stored(self, node: Node, index: int) -> tuple[Tensor, Levels | None]:
        """What an operator reads at a place, and the levels of the integers."""
        tensor = self.constants.get(node.inputs[index]) if index < len(node.inputs) else None
        if tensor is None:
            raise WeightsError("it reads weights that are computed")
        return tensor, self.found.integers.get(id(tensor.storage))
