"""Parses an ONNX file [O] into its operators, arrays and texts.  Arrays stay views of the file's bytes.

Subgraphs (If, Loop, Scan), functions and strings in tensors are left unread; what needs them is refused in resolve.py.
Arrays in other files are fetched by ``beside``.  Only what stands here is looked at: training steps, documentation,
types and sparse arrays are passed over.

[O] https://github.com/onnx/onnx, onnx/onnx.proto, whose field numbers these are
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WeightsError, quoted
from ..tensors import Tensor
from .tensor import TensorReader
from .wire import signed, varints


@dataclass
class Node:
    """An operator: its kind, the names of the values that it reads and makes, its attributes."""

    kind: str = ""
    domain: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """``arrays`` hold the initializers in the file's order; ``texts`` is the file's metadata."""

    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    functions: bool = False


class Parser(TensorReader):
    """Reads a model: its graph, its operators, their attributes."""

    def model(self, data: memoryview) -> Graph:
        graph = Graph()
        for number, value in self.fields(data):
            if number == 7:
                self.graph(value, graph)
            elif number == 14:
                key, text = self.pair(value)
                graph.texts[key] = text
            elif number == 25:
                graph.functions = True
        return graph

    def graph(self, data: Any, graph: Graph) -> None:
        for number, value in self.fields(data):
            if number == 1:
                graph.nodes.append(self.node(value))
            elif number == 5:
                name, tensor = self.tensor(value)
                if name in graph.arrays:
                    raise WeightsError(f"two arrays have the name {quoted(name)}")
                graph.arrays[name] = tensor
            elif number in (11, 12):
                names = graph.inputs if number == 11 else graph.outputs
                names.extend(self.text(text) for field, text in self.fields(value) if field == 1)
            elif number == 15:
                raise WeightsError("it holds sparse arrays, which are not read")

    def node(self, data: Any) -> Node:
        node = Node()
        self.budget.spend(1024, "an operator")
        for number, value in self.fields(data):
            if number == 1:
                node.inputs.append(self.text(value))
            elif number == 2:
                node.outputs.append(self.text(value))
            elif number in (3, 4, 7):
                setattr(node, {3: "name", 4: "kind", 7: "domain"}[number], self.text(value))
            elif number == 5:
                name, found = self.attribute(value)
                node.attributes[name] = found
        return node

    def attribute(self, data: Any) -> tuple[str, Any]:
        """(name, value): an int, a float, a text, a Tensor, or a tuple of numbers; None for anything else."""
        name, found, many = "", None, []
        for number, value in self.fields(data):
            if number == 1:
                name = self.text(value)
            elif number == 2:
                found = shortest(value)
            elif number == 3:
                found = signed(value)
            elif number == 4:
                found = self.text(value)
            elif number == 5:
                found = self.tensor(value)[1]
            elif number == 7:
                self.budget.step(len(value) // 4, "an attribute")
                self.budget.spend(16 * len(value), "an attribute")
                many += [shortest(value[i : i + 4]) for i in range(0, len(value), 4)]
            elif number == 8:
                many += varints(value, self.budget)
            self.budget.spend(64 + 32 * len(many), "an attribute")
        return name, tuple(many) if many else found


def shortest(data: memoryview) -> float:
    """The float32 in four bytes, as the shortest decimal that means it: an eps of 1e-5 is 1e-5."""
    return float(str(np.float32(struct.unpack("<f", data)[0])))
