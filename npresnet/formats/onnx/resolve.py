"""What feeds what in an ONNX graph: the order of the operators, and which values are constants.

Exporters leave operators in a file that compute nothing: constants that are transposed, cast or reshaped, and casts,
identities and changes of layout between the layers.  Here they are looked through.  An operator of another domain, a
call of a function, and control flow are refused where the network's output depends on them.
"""

from collections import Counter
from typing import Any

from ..errors import WeightsError, quoted
from ..stream import Budget
from ..tensors import Storage, Tensor
from .gelu import Forms
from .graph import Graph, Node
from .small import FEW, evaluated

STANDARD = ("", "ai.onnx")
RESHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
PASSING = ("Identity", "Cast", "CastLike", "Dropout", "Transpose", *RESHAPING)
SUMS = ("Add", "Sub", "Mul", "Div", "Sum", "Concat", "Max", "Min")  # all that they read may be data
FORMS = ("Add", "Mul", "Div", "Erf")  # of which GELU is made
LAYERS = ("Conv", "Gemm", "MatMul")


class Resolver:
    """Looks things up in a graph, whose operators must stand behind those that they read."""

    def __init__(self, graph: Graph, budget: Budget):
        self.graph, self.budget = graph, budget
        self.maker: dict[str, Node] = {}
        self.constants: dict[str, Tensor] = dict(graph.arrays)
        self.depth: dict[str, int] = {}
        self.forms = Forms(budget)
        self.awaited: set[str] = set()  # what was read, and not made yet: an input, or else an error
        self.uses = Counter(name for node in graph.nodes for name in node.inputs)
        self.uses.update(graph.outputs)
        for node in graph.nodes:
            self.enter(node)

    def enter(self, node: Node) -> None:
        self.budget.step(8, "an operator")
        found = self.constant_of(node)
        self.awaited.update(name for name in node.inputs if name not in self.maker)
        depth = max((self.depth.get(read, 0) for read in self.data(node)), default=0) + (node.kind in LAYERS)
        for name in filter(None, node.outputs):
            if name in self.maker or name in self.graph.arrays:
                raise WeightsError(f"the value {quoted(name)} is made twice")
            if name in self.awaited:
                raise WeightsError(f"the value {quoted(name)} is read before it is made")
            self.maker[name] = node
            self.depth[name] = depth
        if found is not None and node.outputs:
            self.constants[node.outputs[0]] = found
            return
        constant = next((self.constants[name] for name in node.inputs if name in self.constants), None)
        image = self.forms.gelu(node, self.data(node), constant) if node.kind in FORMS else ""
        if image:
            self.maker[node.outputs[0]] = Node("Gelu", "", node.name, [image], node.outputs)
            self.depth[node.outputs[0]] = self.depth_of(image)

    # -- constants ---------------------------------------------------------------------------------------------------

    def constant(self, node: Node, index: int) -> Tensor | None:
        """The constant that an operator reads at a place, or None."""
        return self.constants.get(node.inputs[index]) if index < len(node.inputs) else None

    def constant_of(self, node: Node) -> Tensor | None:
        """What an operator makes, where it only hands on a constant."""
        if node.kind == "Constant":
            return self.literal(node)
        tensor = self.constant(node, 0)
        few = evaluated(node, [self.constants.get(name) for name in node.inputs if name], self.budget)
        if few is not None or tensor is None or node.kind not in PASSING:
            return few
        if node.kind == "Transpose":
            order = node.attributes.get("perm") or tuple(range(len(tensor.size)))[::-1]
            if sorted(order) != list(range(len(tensor.size))):
                raise WeightsError(f"{quoted(node.name)} permutes the axes {quoted(str(order))}")
            size, stride = (tuple(values[i] for i in order) for values in (tensor.size, tensor.stride))
            return Tensor(tensor.storage, tensor.offset, size, stride, tensor.dtype)
        if node.kind in RESHAPING:
            return vector(tensor)
        return tensor

    def literal(self, node: Node) -> Tensor | None:
        """The value of a Constant operator."""
        value = next(
            (node.attributes[key] for key in ("value", "value_ints", "value_int") if key in node.attributes), None
        )
        if isinstance(value, (int, tuple)):
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(number, int) for number in numbers):
                return None
            data = b"".join((number % 2**64).to_bytes(8, "little") for number in numbers)
            return Tensor.contiguous(Storage("int64", len(numbers)).fill(data), (len(numbers),))
        return value if isinstance(value, Tensor) else None

    def numbers(self, node: Node, index: int, name: str) -> tuple[Any, ...] | None:
        """Few numbers, which are an attribute in some versions of the operators and an input in others."""
        if name in node.attributes:
            value = node.attributes[name]
            return value if isinstance(value, tuple) else (value,)
        tensor = self.constant(node, index)
        if tensor is None or len(tensor.size) > 1 or max(tensor.size, default=1) > FEW:
            return None
        return tuple(tensor.array(self.budget).reshape(-1).tolist())

    # -- the flow ----------------------------------------------------------------------------------------------------

    def data(self, node: Node) -> list[str]:
        """The values that an operator computes with, which are no constants; paid for, for there may be many."""
        self.budget.step(1 + len(node.inputs) // 8, "the graph")
        read = node.inputs if node.kind in SUMS else node.inputs[:1]
        return [name for name in read if name and name not in self.constants]

    def origin(self, name: str) -> str:
        """The value itself, behind everything that hands it on."""
        while (node := self.maker.get(name)) and node.kind in PASSING and node.inputs:
            self.budget.step(1, "the graph")
            name = node.inputs[0]
        return name

    def order(self) -> list[Node]:
        """The operators that the network's output depends on, each behind those it reads; of two paths that meet,
        the one with more layers first.
        """
        done: set[int] = set()
        found, waiting = [], [self.maker[name] for name in self.output() if name in self.maker]
        while waiting:
            node = waiting[-1]
            if id(node) in done:  # an operator that several others read, or one reads several times
                waiting.pop()
                continue
            makers = (self.maker.get(name) for name in sorted(self.data(node), key=self.depth_of))
            ahead = [maker for maker in makers if maker is not None and id(maker) not in done]
            if ahead:
                waiting += ahead  # the deepest comes last, and is taken first
                continue
            waiting.pop()
            done.add(id(node))
            found.append(node)
            check_kind(node, self.graph)
        return found

    def depth_of(self, name: str) -> int:
        return self.depth.get(name, 0)

    def output(self) -> list[str]:
        """The output behind the most layers."""
        return sorted(self.graph.outputs, key=self.depth_of)[-1:]


def check_kind(node: Node, graph: Graph) -> None:
    if node.domain in STANDARD:
        if node.kind in ("If", "Loop", "Scan", "SequenceMap"):
            raise WeightsError(f"it has control flow ({node.kind}), which is not followed; export it without")
        return
    if graph.functions:
        raise WeightsError(
            f"it calls the function {quoted(node.kind)}; write it out first, with onnx.inliner.inline_local_functions"
        )
    raise WeightsError(f"the operator {quoted(node.kind)} of {quoted(node.domain)} is not ONNX's own; export it anew")


def vector(tensor: Tensor) -> Tensor | None:
    """A tensor of one axis, if not more than one axis has more than one number."""
    axes = [(count, stride) for count, stride in zip(tensor.size, tensor.stride) if count != 1] or [(1, 1)]
    if len(axes) > 1:
        return None
    return Tensor(tensor.storage, tensor.offset, axes[0][:1], axes[0][1:], tensor.dtype)
