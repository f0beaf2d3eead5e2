"""A model as a graph of ONNX's operators [O], in the order in which the model runs.

[O] https://onnx.ai/onnx/operators
"""

from typing import Any, NamedTuple

import numpy as np

from .. import nn, ops
from ..formats.errors import WeightsError
from ..formats.onnx.write import Node, Sizes
from ..nn.visit import Visitor, is_replaced
from ..ops.check import IntOrPair, frame, pair
from .portable import portable


class Value(NamedTuple):
    """What stands for an array while a model is visited: its name in the graph, its channels, and if it has pixels."""

    name: str
    channels: int
    pixels: bool = True

    @property
    def sizes(self) -> Sizes:
        return ("N", self.channels, "out_height", "out_width") if self.pixels else ("N", self.channels)


class Graph(Visitor):
    """Visits a model with a Value in the place of x: each layer appends its operators to ``nodes``.

    A layer is handled by the method of its class's name, or of a class that it derives from.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.nodes: list[Node] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.taken: set[str] = set()

    def visit(self, module: nn.Module, x: Value, around: str = "") -> Value:
        if is_replaced(module):
            raise WeightsError(f"{self.names.get(id(module), around)} has a function of its own, which ONNX cannot say")
        return super().visit(module, x, around)

    def residual(self, module: nn.Residual, x: Value, name: str) -> Value:
        f, s = self.visit(module.branch, x, name), self.visit(module.shortcut, x, name)
        return self.node("Add", (f.name, s.name), f"{name}.add", f)

    def leaf(self, module: nn.Module, x: Value, name: str) -> Value:
        method = next((kind.__name__ for kind in type(module).__mro__ if hasattr(type(self), kind.__name__)), None)
        if method is None:
            raise WeightsError(f"{name} is a {type(module).__name__}, for which there is no operator of ONNX")
        return getattr(self, method)(module, x, name)

    def node(self, kind: str, inputs: tuple[str, ...], name: str, like: Value, **attributes: Any) -> Value:
        """Append an operator, whose output takes the name, made unique, and is otherwise like a value."""
        unique, count = name, 0
        while unique in self.taken:
            count += 1
            unique = f"{name}:{count}"
        self.taken.add(unique)
        self.nodes.append(Node(kind, inputs, unique, attributes))
        return like._replace(name=unique)

    def end(self, x: Value, name: str) -> Value:
        """Call the last value by this name, which is the graph's output."""
        if not self.nodes:
            return self.node("Identity", (x.name,), name, x)
        self.nodes = [
            Node(
                node.kind,
                tuple(name if read == x.name else read for read in node.inputs),
                name if node.output == x.name else node.output,
                node.attributes,
            )
            for node in self.nodes
        ]
        return x._replace(name=name)

    def array(self, name: str, array: Any) -> str:
        self.arrays[name] = portable(name, array)
        return name

    def weights(self, module: Any, name: str, *which: str) -> tuple[str, ...]:
        """The names of those arrays of a layer that it has, which become the graph's."""
        held = ((f"{name}.{one}" if name else one, getattr(module, one)) for one in which)
        return tuple(self.array(key, entry.value) for key, entry in held if entry is not None)

    def numbers(self, name: str, *values: int) -> str:
        """A list of integers as a value of the graph; no array of the model."""
        return self.node("Constant", (), name, Value("", 0), value=np.array(values, "<i8")).name

    def number(self, name: str, value: float, count: int | None = None) -> str:
        """A number of the model's dtype, or so many of them in a row."""
        array = np.full(() if count is None else count, value, self.model.dtype.newbyteorder("<"))
        return self.node("Constant", (), name, Value("", 0), value=array).name

    # -- layers ------------------------------------------------------------------------------------------------------

    def Conv2d(self, module, x, name):
        filters, _, *kernel = module.weight.value.shape
        window = windowed(tuple(kernel), module.stride, module.padding, module.dilation)
        inputs = (x.name, *self.weights(module, name, "weight", "bias"))
        return self.node("Conv", inputs, name, x._replace(channels=filters), group=module.groups, **window)

    def BatchNorm2d(self, module, x, name):
        if module.running_mean is None:
            raise WeightsError(f"{name} has no running statistics, which ONNX's batch norm needs")
        arrays = self.weights(module, name, "weight", "bias", "running_mean", "running_var")
        if module.weight is None:
            ones, zeros = (self.number(f"{name}.{what}", what, x.channels) for what in (1, 0))
            arrays = ones, zeros, *arrays
        return self.node("BatchNormalization", (x.name, *arrays), name, x, epsilon=float(module.eps))

    def Linear(self, module, x, name):
        inputs = (x.name, *self.weights(module, name, "weight", "bias"))
        return self.node("Gemm", inputs, name, x._replace(channels=len(module.weight.value)), transB=1)

    def ReLU(self, module, x, name):
        return self.node("Relu", (x.name,), name, x)

    def LeakyReLU(self, module, x, name):
        return self.node("LeakyRelu", (x.name,), name, x, alpha=float(module.static["negative_slope"]))

    def SiLU(self, module, x, name):
        gate = self.node("Sigmoid", (x.name,), f"{name}.gate", x)
        return self.node("Mul", (x.name, gate.name), name, x)

    def GELU(self, module, x, name):
        """x/2 · (1 + erf(x/√2)); the operator Gelu came with opset 20."""
        z = self.node("Mul", (x.name, self.number(f"{name}.scale", 0.5**0.5)), f"{name}.scaled", x)
        erf = self.node("Erf", (z.name,), f"{name}.erf", x)
        raised = self.node("Add", (erf.name, self.number(f"{name}.one", 1)), f"{name}.raised", x)
        half = self.node("Mul", (x.name, self.number(f"{name}.half", 0.5)), f"{name}.halved", x)
        return self.node("Mul", (half.name, raised.name), name, x)

    def GroupNorm(self, module, x, name):
        """Each group as a row of its own is normed, and then each channel scaled.

        The operator of that name came with opset 21.
        """
        ones, zeros = (self.number(f"{name}.{n}", n, module.groups) for n in (1, 0))
        rows = self.node("Reshape", (x.name, self.numbers(f"{name}.rows", 0, module.groups, -1)), f"{name}.flat", x)
        normed = self.node(
            "InstanceNormalization", (rows.name, ones, zeros), f"{name}.normed", x, epsilon=float(module.eps)
        )
        size = self.node("Shape", (x.name,), f"{name}.size", x)
        image = self.node("Reshape", (normed.name, size.name), f"{name}.image", x)
        axes = self.numbers(f"{name}.axes", 1, 2)
        gamma, beta = (
            self.node("Unsqueeze", (array, axes), f"{array}:column", x).name
            for array in self.weights(module, name, "weight", "bias")
        )
        scaled = self.node("Mul", (image.name, gamma), f"{name}.scaled", x)
        return self.node("Add", (scaled.name, beta), name, x)

    def Softmax(self, module, x, name):
        return self.node("Softmax", (x.name,), name, x, axis=1)

    def GlobalAvgPool2d(self, module, x, name):
        mean = self.node("GlobalAveragePool", (x.name,), f"{name}.mean", x)
        return self.node("Flatten", (mean.name,), name, x._replace(pixels=False), axis=1)

    def MaxPool2d(self, module, x, name):
        static = {"dilation": 1, "ceil_mode": False, **module.static}
        window = windowed(*(static[key] for key in ("kernel", "stride", "padding", "dilation")))
        return self.node("MaxPool", (x.name,), name, x, ceil_mode=int(static["ceil_mode"]), **window)

    def AvgPool2d(self, module, x, name):
        static = {"ceil_mode": False, "count_include_pad": True, **module.static}
        window = windowed(*(static[key] for key in ("kernel", "stride", "padding")))
        del window["dilations"]  # which the operator has since opset 19
        flags = {key: int(static[key]) for key in ("ceil_mode", "count_include_pad")}
        return self.node("AveragePool", (x.name,), name, x, **flags, **window)

    def Subsample(self, module, x, name):
        """Every second pixel is the largest in a window of one."""
        return self.node("MaxPool", (x.name,), name, x, **windowed(1, module.static["stride"]))

    def ZeroPadChannels(self, module, x, name):
        before, after = module.static["before"], module.static["after"]
        pads = self.numbers(f"{name}.pads", 0, before, 0, 0, 0, after, 0, 0)
        return self.node("Pad", (x.name, pads), name, x._replace(channels=x.channels + before + after))

    def ZeroPad2d(self, module, x, name):
        (top, bottom), (left, right) = frame(module.static["padding"])
        pads = self.numbers(f"{name}.pads", 0, 0, top, left, 0, 0, bottom, right)
        return self.node("Pad", (x.name, pads), name, x)

    def BlurPool2d(self, module, x, name):
        """A convolution of each channel by itself, over images with a mirrored frame."""
        pads = self.numbers(f"{name}.pads", 0, 0, 1, 1, 0, 0, 1, 1)
        framed = self.node("Pad", (x.name, pads), f"{name}.framed", x, mode="reflect")
        row = np.array([1, 2, 1], self.model.dtype.newbyteorder("<")) / 4
        filters = np.repeat((row[:, None] * row)[None, None], x.channels, axis=0)
        w = self.node("Constant", (), f"{name}.filters", Value("", 0), value=filters).name
        return self.node("Conv", (framed.name, w), name, x, group=x.channels, **windowed(3, module.static["stride"]))

    def ChannelConv(self, module, x, name):
        """The channels as the pixels of one row."""
        k = module.weight.value.shape[2]
        row = self.node("Reshape", (x.name, self.numbers(f"{name}.row", 0, 1, -1)), f"{name}.in_a_row", x)
        inputs = (row.name, *self.weights(module, name, "weight"))
        y = self.node("Conv", inputs, f"{name}.along", x, kernel_shape=(k,), pads=(k // 2, k // 2))
        return self.node("Reshape", (y.name, self.numbers(f"{name}.back", 0, -1, 1, 1)), name, x)

    def ChannelGate(self, module, x, name):
        mean = self.node("GlobalAveragePool", (x.name,), f"{name}.mean", x)
        z = self.visit(module.excite(), mean, name)
        gate = self.node("Sigmoid", (z.name,), f"{name}.gate", z)
        return self.node("Mul", (x.name, gate.name), name, x)


def windowed(kernel: IntOrPair, stride: IntOrPair = 1, pads: Any = 0, dilation: IntOrPair = 1) -> dict[str, Any]:
    """The attributes of an operator with a window.

    Only where a 'same' padding depends on the image's size does the operator compute it.
    """
    kernel, stride, dilation = pair(kernel), pair(stride), pair(dilation)
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "dilations": dilation}
    if pads in ("same", "same_lower") and any(k > 1 and s > 1 for k, s in zip(kernel, stride)):
        return found | {"auto_pad": "SAME_UPPER" if pads == "same" else "SAME_LOWER"}
    (top, bottom), (left, right) = ops.Window.of(kernel, stride, pads, dilation, (1, 1)).padding
    return found | {"pads": (top, left, bottom, right)}
