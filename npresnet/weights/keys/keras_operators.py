"""Keras's layers as operators of ONNX."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...formats.errors import WeightsError, quoted
from ...formats.keras import typed_item
from ...formats.onnx.graph import Node
from ...formats.stream import Budget
from ...formats.tensors import Tensor

ACTIVATIONS = {
    "linear": "Identity",
    "relu": "Relu",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
    "sigmoid": "Sigmoid",
    "silu": "Swish",
    "swish": "Swish",
    "gelu": "Gelu",
    "elu": "Elu",
    "selu": "Selu",
    "mish": "Mish",
    "softplus": "Softplus",
    "tanh": "Tanh",
}
MOST = 100_000  # operators


class Operators:
    """The operators that are written so far: ``write_X`` adds those of a layer of class X.

    ``options`` are the layer's, ``reads`` the values that it reads, ``value`` is what it makes, ``owner`` the place of
    its arrays among the file's.
    """

    def __init__(self, arrays: Mapping[str, Any], budget: Budget):
        self.budget = budget
        self.nodes: dict[str, Node] = {}  # by the value that each makes
        self.constants: dict[str, Tensor] = {}
        self.outputs: list[str] = []
        self.arrays, self.owners = arrays, defaultdict(list)
        for owner in dict.fromkeys(key.rpartition("/")[0] for key in arrays):
            self.owners[owner.rpartition("/")[2]].append(owner)

    def node(self, kind: str, inputs: list[str], value: str, **attributes: Any) -> None:
        if value in self.nodes or len(self.nodes) >= MOST:
            raise WeightsError(f"its configuration makes {quoted(value)} twice, or has more than {MOST:,} layers")
        self.budget.spend(1024 + 4 * (len(value) + sum(map(len, inputs))), "the graph in the configuration")
        self.nodes[value] = Node(kind, "", value, inputs, [value], attributes)

    # -- arrays ------------------------------------------------------------------------------------------------------

    def owner(self, name: str, around: tuple[str, ...]) -> str:
        """The part of the arrays' names that stands for a layer; of several, that which begins with what is around."""
        owners = self.owners[name]
        self.budget.step(len(owners), "the graph in the configuration")
        first = (*around, name)[0]
        return next((owner for owner in owners if owner.partition("/")[0] == first), owners[0] if owners else name)

    def constant(self, owner: str, role: str, usual: float, size: int) -> str:
        """The vector of that role; one of a usual number where the layer was made without."""
        key = f"{owner}/{role}"
        if key not in self.constants:  # for a layer may be called twice
            array = self.arrays[key] if key in self.arrays else np.full(size, usual, np.float32)
            self.constants[key] = Tensor.of(array)
        return key

    def kernel(self, owner: str, order: tuple[int, ...]) -> list[str]:
        """[the kernel, its axes in torch's order, the bias if there is one]"""
        key, bias = f"{owner}/kernel", f"{owner}/bias"
        if key not in self.arrays or np.ndim(self.arrays[key]) != len(order):
            raise WeightsError(f"its layer {quoted(owner)} has no kernel of {len(order)} axes")
        if f"{key}:turned" not in self.nodes:  # for a layer may be called twice
            self.constants[key] = Tensor.of(self.arrays[key])
            self.node("Transpose", [key], f"{key}:turned", perm=order)
        return [f"{key}:turned", *([self.constant(owner, "bias", 0, 0)] if bias in self.arrays else [])]

    # -- layers ------------------------------------------------------------------------------------------------------

    def write_Conv2D(self, options, reads, value, owner):
        arrays = self.kernel(owner, (3, 2, 0, 1))
        window = {
            **windowed(options),
            "dilations": whole(options, "dilation_rate", 1),
            "group": options.get("groups", 1),
        }
        self.node("Conv", [*reads, *arrays], f"{value}:linear", **window)
        self.activation(options.get("activation"), f"{value}:linear", value)

    def write_Dense(self, options, reads, value, owner):
        self.node("Gemm", [*reads, *self.kernel(owner, (1, 0))], f"{value}:linear", transB=1)
        self.activation(options.get("activation"), f"{value}:linear", value)

    def write_BatchNormalization(self, options, reads, value, owner):
        size = np.size(self.arrays.get(f"{owner}/moving_mean", ()))
        roles = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
        arrays = [self.constant(owner, role, usual, size) for role, usual in roles.items()]
        numbers = {"epsilon": options.get("epsilon", 1e-3), "momentum": options.get("momentum", 0.99)}
        self.node("BatchNormalization", [*reads, *arrays], value, **numbers)

    def write_ZeroPadding2D(self, options, reads, value, owner):
        pads = typed_item(options, "padding", list)
        if len(pads) != 2 or not all(isinstance(side, list) and len(side) == 2 for side in pads):
            raise WeightsError("its ZeroPadding2D has no padding of four sides")
        (top, bottom), (left, right) = pads
        self.node("Pad", reads, value, pads=(0, 0, top, left, 0, 0, bottom, right))

    def write_MaxPooling2D(self, options, reads, value, owner):
        self.node("MaxPool", reads, value, **windowed(options, "pool_size"))

    def write_AveragePooling2D(self, options, reads, value, owner):
        self.node("AveragePool", reads, value, **windowed(options, "pool_size"))

    def write_GlobalAveragePooling2D(self, options, reads, value, owner):
        self.node("GlobalAveragePool", reads, value)

    def write_Activation(self, options, reads, value, owner):
        self.activation(options.get("activation"), reads[0], value)

    def write_Softmax(self, options, reads, value, owner):
        self.node("Softmax", reads, value)

    def write_ReLU(self, options, reads, value, owner):
        slope, most = options.get("negative_slope") or 0.0, options.get("max_value")
        if options.get("threshold"):
            raise WeightsError("its ReLU has a threshold, as no ResNet's of the family has")
        if most is not None:
            self.node("Clip", reads, value, min=0, max=most)
        elif slope:
            self.node("LeakyRelu", reads, value, alpha=slope)
        else:
            self.node("Relu", reads, value)

    def write_LeakyReLU(self, options, reads, value, owner):
        slope = options.get("negative_slope", options.get("alpha", 0.3))
        self.node("LeakyRelu", reads, value, alpha=slope)

    def activation(self, given: Any, read: str, value: str) -> None:
        """What follows inside a layer: a function's name, or a layer's class with options."""
        if isinstance(given, dict) and f"write_{given.get('class_name')}" in vars(Operators):
            return getattr(self, f"write_{given['class_name']}")(typed_item(given, "config", dict), [read], value, "")
        if given is not None and given not in ACTIVATIONS:
            raise WeightsError(f"its activation is {quoted(given)}, which the family has not")
        return self.node(ACTIVATIONS["linear" if given is None else given], [read], value)


def whole(options: Mapping[str, Any], name: str, usual: int) -> tuple[Any, ...]:
    value = options.get(name)
    return tuple(value) if isinstance(value, list) else (usual if value is None else value,) * 2


def windowed(options: Mapping[str, Any], kernel: str = "kernel_size") -> dict[str, Any]:
    """The attributes of an operator with a window."""
    size = whole(options, kernel, 2)
    strides = size if options.get("strides") is None else whole(options, "strides", 1)
    auto = {"same": "SAME_UPPER", "valid": "VALID"}.get(options.get("padding", "valid"), "another padding")
    return {"kernel_shape": size, "strides": strides, "auto_pad": auto}
