"""Reads the graph that a Keras model's configuration lists [K], as the ONNX operators that its layers compute.

So it is followed, named and held to our network as an ONNX file is.  Nothing of it is built or run.  A layer that no
ResNet has is refused; a class of the writer's own computes what only its program says, and there is no graph then.

[K] keras/src/models/functional.py, get_config; Keras 2 writes the same in other brackets
"""

import re
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

from ...formats.errors import WeightsError, quoted
from ...formats.keras import typed_item
from ...formats.onnx.graph import Graph
from ...formats.onnx.layers import state_of
from ...formats.state import State
from ...formats.stream import Budget, parse_json
from .keras import FIRST
from .keras_operators import Operators

MODELS = ("Functional", "Model", "Sequential")
TRAINING = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization")
AUGMENTATION = re.compile(r"Random\w+|MixUp|CutMix|RandAugment|AugMix")
PASSING = (*TRAINING, "InputLayer", "Identity", "Flatten", "Reshape")
OF_KERAS = ("keras", "tf_keras", "tensorflow")  # the first part of a module's name
FUNCTIONS = {"nn.relu": "Relu", "__operators__.add": "Add", "math.add": "Add"}  # of TensorFlow, in Keras 2
DEEPEST = 8  # models in one another


def keras_state(config: str, arrays: Mapping[str, Any], budget: Budget) -> State | None:
    """The layers and arrays of the model's graph, named by their places in it, in torch's layout; None without a graph.

    ``arrays`` are those of the file, the names "layer/kernel", "layer/gamma" …
    """
    document = parse_json(config, "the model's configuration")
    if not isinstance(document, dict) or not inside(document):
        return None
    foreign, writing = next(filter(is_foreign, every_layer(document)), None), Writing(arrays, budget)
    if foreign and FIRST in writing.owners:  # around Keras's ResNet, which is known without the graph
        raise no_place(foreign)
    if foreign:
        return None
    writing.model(document, ["images"], "", ())
    return state_of(writing.graph(), budget)


def inside(model: Any) -> list[dict[str, Any]]:
    """The layers of a model."""
    return [layer for layer in typed_item(settings(model), "layers", list) if isinstance(layer, dict)]


def settings(layer: Any) -> dict[str, Any]:
    return typed_item(layer, "config", dict)


def name_of(layer: dict[str, Any]) -> str:
    return typed_item(settings(layer), "name", str) or typed_item(layer, "name", str)


def no_place(layer: dict[str, Any]) -> WeightsError:
    name, kind = quoted(name_of(layer)), quoted(layer.get("class_name"))
    return WeightsError(f"its layer {name} is a {kind}, which no ResNet of the family has; save the model without it")


def every_layer(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The layers of a model, and of those inside it."""
    waiting = inside(document)
    while waiting:
        layer = waiting.pop()
        yield layer
        waiting += inside(layer)


def is_foreign(layer: dict[str, Any]) -> bool:
    """Whether it says that its class is not one of Keras's own."""
    return "module" in layer and str(layer["module"]).partition(".")[0] not in OF_KERAS


def references(value: Any) -> Iterator[tuple[str, int]]:
    """(layer, call) of the values that a call reads: keras_history in Keras 3, [layer, call, output, …] in Keras 2."""
    if isinstance(value, dict):
        history = typed_item(settings(value), "keras_history", list)
        yield from references(history or [*value.values()])
    elif isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str) and type(value[1]) is int:
        yield value[0], value[1]
        yield from references(value[3:])
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


class Writing(Operators):
    """Writes a model down, and the models inside it."""

    def graph(self) -> Graph:
        """The operators, each behind those that it reads."""
        order = TopologicalSorter({value: node.inputs for value, node in self.nodes.items()}).static_order()
        nodes = [self.nodes[value] for value in order if value in self.nodes]
        return Graph(nodes, self.constants, ["images"], self.outputs)

    # -- models ------------------------------------------------------------------------------------------------------

    def model(self, model: dict[str, Any], inputs: list[str], value: str, around: tuple[str, ...]) -> None:
        """A model that reads these values and makes ``value``; the outermost makes the graph's outputs."""
        if len(around) > DEEPEST:
            raise WeightsError(f"its configuration has models in one another, more than {DEEPEST} deep")
        if model.get("class_name") == "Sequential":
            results = [self.sequence(inside(model), inputs, value, around)]
        else:
            results = self.functional(model, inputs, value, around)
        if not value:
            self.outputs = results
        elif len(results) == 1:
            self.node("Identity", results, value)
        else:
            raise WeightsError(f"its part {quoted(around[-1])} has {len(results)} outputs, as no ResNet's has")

    def sequence(self, layers: list[dict[str, Any]], inputs: list[str], value: str, around: tuple[str, ...]) -> str:
        for i, layer in enumerate(layers):
            after = f"{value}/{i}"
            self.layer(layer, inputs, after, around)
            inputs = [after]
        return inputs[0]

    def functional(self, model: dict[str, Any], inputs: list[str], value: str, around: tuple[str, ...]) -> list[str]:
        given = [f"{value}/{name}:{call}" for name, call in references(settings(model).get("input_layers"))]
        if len(given) != len(inputs):
            raise WeightsError(f"its configuration has {len(given)} inputs, and {len(inputs)} are images")
        for one, image in zip(given, inputs):
            self.node("Identity", [image], one)
        for layer in inside(model):
            for call, read in enumerate(typed_item(layer, "inbound_nodes", list)):
                reads = [f"{value}/{name}:{which}" for name, which in references(read)]
                after = f"{value}/{name_of(layer)}:{call}"
                if after not in given:
                    self.layer(layer, reads, after, around)
        return [f"{value}/{name}:{call}" for name, call in references(settings(model).get("output_layers"))]

    # -- layers ------------------------------------------------------------------------------------------------------

    def layer(self, layer: dict[str, Any], reads: list[str], value: str, around: tuple[str, ...]) -> None:
        """One call of a layer, or of a model inside."""
        kind, options, name = typed_item(layer, "class_name", str), settings(layer), name_of(layer)
        if kind in MODELS or inside(layer):
            return self.model(layer, reads, value, (*around, name))
        function = FUNCTIONS.get(typed_item(options, "function", str)) if kind == "TFOpLambda" else None
        count = 2 if "Add" in (kind, function) or kind == "Multiply" else 1
        if len(reads) != count:
            raise WeightsError(f"its layer {quoted(name)}, a {quoted(kind)}, reads {len(reads)} values and not {count}")
        if function or kind in ("Add", "Multiply"):
            return self.node(function or {"Multiply": "Mul"}.get(kind, kind), reads, value)
        if kind in PASSING or AUGMENTATION.fullmatch(kind):
            return self.node("Identity", reads, value)
        write = getattr(self, f"write_{kind}", None)
        if write is None:
            raise no_place(layer)
        return write(options, reads, value, self.owner(name, around))
