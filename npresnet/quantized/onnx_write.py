"""A quantized network as an ONNX graph in the form QDQ [O]: what other programs run on integers themselves.

Each operator computes with real numbers, between a DequantizeLinear in front of what it reads and a QuantizeLinear
behind what it makes; a program that knows the pattern fuses the three to one operator on integers.

    weights       int8, a scale for each filter, zero point 0
    activations   uint8, one scale and one zero point
    bias          int32 on the scale of the sums, s_x s_w: rounded to it, where ours is a float32           [J] §2.4

[O] https://onnx.ai/onnx/operators, QuantizeLinear and DequantizeLinear
[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..backend import Array
from ..formats.atomic import atomic_write
from ..formats.errors import WeightsError, checked_path, error_context
from ..formats.onnx.write import OPSETS, Node, Port, write_onnx
from ..formats.tensors import QUANTIZED
from ..ops.check import IntOrPair
from ..weights.export_onnx import IMAGES, OPSET, checked_sides, plain_texts
from ..weights.onnx_graph import Graph, Value, windowed
from .float_step import INPUT
from .network import QuantizedNetwork
from .steps import Add, IntegerStep, Kept, Scaled, Weighted

SCORES = "scores"


def save_quantized_onnx(
    network: QuantizedNetwork, path: str | os.PathLike[str], *, size: IntOrPair | None = None, opset: int = OPSET
) -> Path:
    """Write a quantized network to ``path``: images (N, C, H, W) in, scores (N, classes) out, both float32.

    size    the images' height and width, where a program wants them fixed; else they are free, as N always is
    opset   the version of ONNX's operators

    The file appears complete or not at all.  Raises WeightsError, also for a bias that 32 bits cannot hold.
    """
    path = checked_path(path)
    with error_context(path):
        if opset not in OPSETS:
            raise WeightsError(f"opset {opset!r} is not written; choose one from {min(OPSETS)} to {max(OPSETS)}")
        first = next((step for step in network.steps if isinstance(step, Weighted)), None)
        if first is None:
            raise WeightsError("there is no convolution in this network, which would say how many channels it reads")
        channels = first.weight.shape[1] * first.window.get("groups", 1)
        sides = ("height", "width") if size is None else checked_sides(size)
        graph = Qdq()
        last = graph.network(network, channels)
        images = Port(IMAGES, np.dtype("f4"), ("N", channels, *sides))
        if not path.parent.is_dir():
            raise WeightsError(f"there is no folder {path.parent}; make it first")
        texts = {**plain_texts(network), QUANTIZED: network.metadata}
        with atomic_write(path) as file:
            write_onnx(
                file,
                graph.nodes,
                graph.arrays,
                [images],
                [Port(last.name, np.dtype("f4"), last.sizes)],
                {key: text for key, text in texts.items() if text},
                opset=opset,
            )
    return path


class Qdq(Graph):
    """Appends the operators of one step after the other; a step's result is called by the step's name."""

    def __init__(self) -> None:
        super().__init__(nn.Chain())

    def network(self, network: QuantizedNetwork, channels: int) -> Value:
        """The value that is the network's scores."""
        found = {INPUT: self.rounded(Value(IMAGES, channels), INPUT, network.scale, network.zero_point)}
        scales = {INPUT: (network.scale, network.zero_point)}
        for step in network.steps:
            read, name = [found[name] for name in step.inputs], step.name
            before = scales[step.inputs[0]]
            scales[name] = (step.scale, step.zero_point) if isinstance(step, Scaled) else before
            found[name] = self.step(step, read, before[0], scales[name])
        return self.end(found[network.steps[-1].name], SCORES)

    def step(self, step: IntegerStep, read: list[Value], scale: float, behind: tuple[float, int]) -> Value:
        """The operators of one step, which reads real numbers that integers stand for, and gives such."""
        if isinstance(step, Kept):
            return self.kept(step, read[0], behind)
        if isinstance(step, Weighted):
            y = self.weighted(step, read[0], scale)
        elif isinstance(step, Add):
            y = self.node("Add", (read[0].name, read[1].name), f"{step.name}:sum", read[0])
        else:
            raise WeightsError(f"{step.name} is a {type(step).__name__}, for which there is no operator of ONNX")
        if isinstance(step, Scaled) and step.relu:
            y = self.node("Relu", (y.name,), f"{step.name}:relu", y)
        return self.rounded(y, step.name, *behind)

    def weighted(self, step: Weighted, x: Value, scale: float) -> Value:
        """A convolution or a classifier, its weights and bias as integers with scales."""
        name, filters = step.name, len(step.weight)
        sums = np.float32(scale) * step.weight_scale  # the scale of the sums
        bias = np.rint(step.bias / sums.astype(np.float64))
        if np.abs(bias).max(initial=0) >= 2**31:
            raise WeightsError(f"{name}: a bias is more than 32 bits hold on the scale of the sums")
        w = self.dequantized(f"{name}.weight", step.weight, step.weight_scale)
        b = self.dequantized(f"{name}.bias", bias.astype(np.int32), sums)
        if step.weight.ndim == 2:
            return self.node("Gemm", (x.name, w, b), f"{name}:sums", x._replace(channels=filters), transB=1)
        window = {"stride": 1, "padding": 0, "dilation": 1, **step.window}
        return self.convolution(x, (w, b), f"{name}:sums", step.weight.shape, **window)

    def kept(self, step: Kept, x: Value, scale: tuple[float, int]) -> Value:
        """A layer whose result has the scale of what it reads; of a mean the one pixel is flattened behind it."""
        y = self.leaf(step.layer, x, f"{step.name}:real")
        if not isinstance(step.layer, nn.GlobalAvgPool2d):
            return self.rounded(y, step.name, *scale)
        flatten = self.nodes.pop()
        mean = self.rounded(x._replace(name=flatten.inputs[0]), f"{step.name}:mean", *scale)
        self.nodes.append(Node("Flatten", (mean.name,), flatten.output, flatten.attributes))
        return self.rounded(y, step.name, *scale)

    def rounded(self, x: Value, name: str, scale: float, zero_point: int) -> Value:
        """The real numbers that the nearest integers stand for."""
        found = self.array(f"{name}.scale", np.array(scale, "<f4"))
        found = found, self.array(f"{name}.zero_point", np.array(zero_point, np.uint8))
        q = self.node("QuantizeLinear", (x.name, *found), f"{name}:integers", x)
        return self.node("DequantizeLinear", (q.name, *found), name, x)

    def dequantized(self, name: str, integers: Array, scale: Array) -> str:
        """The name of real numbers that are stored as integers, with a scale for each of the first axis."""
        zeros = np.zeros(len(integers), integers.dtype)
        arrays = {name: integers, f"{name}_scale": scale, f"{name}_zero_point": zeros}
        stored = tuple(self.array(key, array) for key, array in arrays.items())
        return self.node("DequantizeLinear", stored, f"{name}:real", Value("", 0), axis=0).name

    def convolution(self, x: Value, arrays: tuple[str, str], name: str, shape: Any, **window: Any) -> Value:
        """The operator over windows of that kernel."""
        attributes = windowed(shape[2:], window["stride"], window["padding"], window["dilation"])
        inputs, y = (x.name, *arrays), x._replace(channels=shape[0])
        return self.node("Conv", inputs, name, y, group=window.get("groups", 1), **attributes)
