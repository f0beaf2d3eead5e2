"""The float graph within one in the form QDQ: without QuantizeLinear and DequantizeLinear, whose scales are noted.

    x -> Q -> DQ -> y       x, and its levels: a scale and a zero point
    integers -> DQ -> w     the integers themselves in the place of w, and their levels

Quantizers leave out a ReLU where the first level behind it is 0, so that what is below saturates; here it stands again,
behind a convolution or a sum.  Networks of quantized operators (QLinearConv …) have no such graph within.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import WeightsError
from ..tensors import Tensor
from .graph import Graph, Node
from .windows import refuse

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
FIRST = {"uint8": 0, "int8": -128}  # level of the integers of a dtype


class Levels(NamedTuple):
    """The scales and zero points of integers, and the axis that they are along; zero points of None are 0 of uint8."""

    scale: Tensor
    zero_point: Tensor | None
    axis: int


class Stripped(NamedTuple):
    """The float graph; value → its levels; the storage of integers, by its identity → their levels."""

    graph: Graph
    values: dict[str, Levels]
    integers: dict[int, Levels]


def is_quantized(graph: Graph) -> bool:
    """Whether integers stand for real numbers in a graph."""
    return any(node.kind in (QUANTIZE, DEQUANTIZE, *OPERATORS) for node in graph.nodes)


def stripped(graph: Graph) -> Stripped:
    """The float graph within one whose operators stand behind those that they read, as ONNX demands.

    Raises WeightsError for quantized operators, and for levels that are computed.
    """
    return Strip(graph).found


class Strip:
    """Goes through a graph once; ``name`` says what a value of it is called in the new one."""

    def __init__(self, graph: Graph):
        self.old, self.constants = graph, {**graph.arrays, **dict(literals(graph))}
        new = Graph([], graph.arrays, graph.inputs, [], graph.texts, graph.functions)
        self.found = Stripped(new, {}, {})
        self.name: dict[str, str] = {}
        self.maker: dict[str, Node] = {}
        self.real = {node.inputs[0]: node.outputs[0] for node in graph.nodes if is_dequantize(node)}
        self.readers: dict[str, set[str]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, set()).add(node.kind)
        for node in graph.nodes:
            self.enter(node)
        new.outputs += [self.name.get(name, name) for name in graph.outputs]

    def enter(self, node: Node) -> None:
        if node.kind in OPERATORS:
            raise WeightsError(f"it is made of quantized operators ({node.kind}); write it in the form QDQ")
        if node.kind not in (QUANTIZE, DEQUANTIZE):
            inputs = [self.name.get(name, name) for name in node.inputs]
            self.append(Node(node.kind, node.domain, node.name, inputs, node.outputs, node.attributes))
        elif not node.inputs or len(node.outputs) != 1:
            raise refuse(node, "reads nothing, or makes several values")
        elif node.kind == DEQUANTIZE and node.inputs[0] in self.constants:
            tensor = self.constants[node.inputs[0]]
            self.found.integers[id(tensor.storage)] = self.levels(node)
            self.name[node.outputs[0]] = node.inputs[0]
        elif node.kind == DEQUANTIZE:
            self.name[node.outputs[0]] = self.name.get(node.inputs[0], node.inputs[0])
        else:
            self.quantize(node)

    def append(self, node: Node) -> None:
        self.found.graph.nodes.append(node)
        self.maker.update(dict.fromkeys(node.outputs, node))

    def quantize(self, node: Node) -> None:
        """Note a value's levels; behind them it is itself, or its ReLU."""
        levels, value = self.levels(node), self.name.get(node.inputs[0], node.inputs[0])
        self.found.values.setdefault(value, levels)
        maker = self.maker.get(value)
        readers = self.readers.get(self.real.get(node.outputs[0], ""), set())
        bare = readers & {"Relu", "Clip"} or readers == {"Add"}  # an activation follows, or none does in a branch
        if maker is not None and maker.kind in ("Conv", "Add") and starts_at_zero(levels) and not bare:
            relu = Node("Relu", "", node.name, [value], [f"{value} > 0"])
            self.append(relu)
            value = relu.outputs[0]
            self.found.values[value] = levels
        self.name[node.outputs[0]] = value

    def levels(self, node: Node) -> Levels:
        """The levels that an operator reads."""
        tensors = [self.constants.get(name) for name in node.inputs[1:3] if name]
        scale = tensors[0] if tensors else None
        if scale is None or None in tensors or node.attributes.get("block_size"):
            raise refuse(node, "has no scale, or one that is computed, or one for each block of numbers")
        axis = node.attributes.get("axis", 1)
        return Levels(scale, tensors[1] if len(tensors) > 1 else None, axis if type(axis) is int else 1)


def is_dequantize(node: Node) -> bool:
    return node.kind == DEQUANTIZE and bool(node.inputs) and bool(node.outputs)


def literals(graph: Graph) -> Iterator[tuple[str, Tensor]]:
    """(value, Tensor) of the graph's constants."""
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.kind == "Constant" and isinstance(value, Tensor) and node.outputs:
            yield node.outputs[0], value


def starts_at_zero(levels: Levels) -> bool:
    """Whether the first level is the real 0."""
    tensor = levels.zero_point
    if tensor is None:
        return True
    if tensor.dtype not in FIRST or tensor.storage.data is None or tensor.storage.nbytes != 1:
        return False
    return int.from_bytes(tensor.storage.data, "little", signed=tensor.dtype == "int8") == FIRST[tensor.dtype]
