"""Steps as JSON and one run of float32: all that the page cannot derive itself.

It derives, with the same roundings, the outputs of ReLUs, batch norms with running statistics (y = a x + b),
subsamplings and sums from their inputs, and each dy from the dx of the layers that read y.
"""

from base64 import b64encode
from typing import Any

import numpy as np

from .. import ops
from ..backend import Array
from ..nn import AvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Subsample
from ..ops import Window, check
from .detail import Detail, chosen_channels, chosen_pixels, images, kept_steps
from .trace import Step, Trace

DERIVED = ("relu", "norm", "sum", "subsample")


class Floats:
    """Arrays in one run of little-endian float32, each known by where it begins and its shape."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: Array) -> dict[str, Any]:
        """Append an array; returns {"at": its first number, "shape": its shape}."""
        place = {"at": self.size, "shape": list(array.shape)}
        self.parts.append(np.ascontiguousarray(array, "<f4").tobytes())
        self.size += array.size
        return place

    @property
    def bytes(self) -> int:
        return 4 * self.size

    def base64(self) -> str:
        return b64encode(b"".join(self.parts)).decode("ascii")


class Packer:
    """The steps of a trace as the page reads them, with so much ``detail``."""

    def __init__(self, trace: Trace, blocks: list[str], detail: Detail):
        self.trace, self.blocks, self.detail, self.floats = trace, blocks, detail, Floats()
        self.kept = sorted(kept_steps(trace, blocks, detail))
        self.channels = chosen_channels(trace, detail)
        self.places = {width: self.floats.add(channels) for width, channels in self.channels.items()}
        self.new = {old: new for new, old in enumerate(self.kept)}
        self.steps = [self.pack(index, self.trace.steps[index]) for index in self.kept]

    def pack(self, index: int, step: Step) -> dict[str, Any]:
        """One step: what it is, what it reads, and the numbers that only npresnet knows."""
        y, inputs = images(step.y), [self.new.get(source) for source in step.inputs]
        whole = None not in inputs
        packed = {
            "name": step.name,
            "kind": step.kind,
            "block": self.blocks[index],
            "path": step.path,
            "inputs": inputs if whole else [],
            "shape": list(y.shape[1:]),
            "channels": self.places[y.shape[1]],
        }
        if step.kind not in DERIVED or not whole:
            packed["y"] = self.floats.add(self.shown(y)[0])
        if step.kind not in DERIVED and step.inputs and whole:
            packed["dx"] = self.floats.add(self.shown(step.dx[0]))
        if not (readers := self.trace.readers[index]) or any(reader not in self.new for reader in readers):
            packed["dy"] = self.floats.add(self.shown(step.dy))
        if whole and step.inputs:
            packed.update(self.weights(step))
        return packed

    def shown(self, a: Array) -> Array:
        """The channels that are stored.  (N, C, H, W) or (N, C) → (N, n, H, W)"""
        a = images(a)
        return a[:, self.channels[a.shape[1]]]

    def weights(self, step: Step) -> dict[str, Any]:
        """What a layer multiplies with, and the windows that it sees."""
        x, static = images(self.trace.steps[step.inputs[0]].y), getattr(step.module, "static", {})
        if isinstance(step.module, Conv2d):
            window = Window.of(step.module.weight.value.shape[2:], **window_of(step.module), size=x.shape[2:])
            return self.product(step, x, step.module.weight.value, window, step.module.groups)
        if isinstance(step.module, Linear):
            return self.product(step, x, images(step.module.weight.value), Window.of(1), 1)
        if step.kind == "norm":
            return self.batch_norm(step, x)
        if isinstance(step.module, Subsample):
            return {"stride": check.pair(static["stride"])}
        if isinstance(step.module, (MaxPool2d, AvgPool2d)):
            sizes = {key: static[key] for key in ("kernel", "stride", "padding", "dilation") if key in static}
            return Window.of(**sizes, size=x.shape[2:])._asdict()
        return {"whole": True} if step.module and step.module.children() else {}  # a gate looks at the whole image

    def product(self, step: Step, x: Array, w: Array, window: Window, groups: int) -> dict[str, Any]:
        """Filters, bias, window; and the windows of some pixels where the page has not every channel of x."""
        shown, bias = self.channels[len(w)], getattr(step.module, "bias", None)
        packed: dict[str, Any] = {"w": self.floats.add(w[shown]), "groups": groups, **window._asdict()}
        if bias is not None:
            packed["b"] = self.floats.add(bias.value[shown])
        if len(self.channels[x.shape[1]]) < x.shape[1]:
            pixels = chosen_pixels(images(step.y).shape[2:], self.detail)
            columns = ops.im2col(x[:1], window)[:, :, :, 0]  # (C, kh, kw, oh, ow)
            packed["pixels"] = pixels
            packed["windows"] = self.floats.add(np.stack([columns[..., row, column] for row, column in pixels]))
        return packed

    def batch_norm(self, step: Step, x: Array) -> dict[str, Any]:
        """y = a x + b as in evaluation; and x̂, mean(dy), mean(dy · x̂) as if this image were a batch in training."""
        module, x, dy = step.module, self.shown(x)[:1], self.shown(step.dy)
        assert isinstance(module, BatchNorm2d)
        a, b = affine_map(module, self.trace.steps[step.inputs[0]].y)
        shown = self.channels[step.y.shape[1]]
        packed: dict[str, Any] = {"a": self.floats.add(a[shown]), "b": self.floats.add(b[shown])}
        if x.shape[2] * x.shape[3] > 1:  # a single value has no variance
            moments, means = removed(x, dy, module.eps)
            packed.update(moments=self.floats.add(moments), removed=self.floats.add(means))
        return packed


def removed(x: Array, dy: Array, eps: float) -> tuple[Array, Array]:
    """What a batch norm in training removes from each cotangent: (μ and 1/√(σ² + ε), mean(dy) and mean(dy · x̂)).

    Shapes: x (1, C, H, W), dy (K, C, H, W) → (2, C), (K, 2, C).
    """
    m, ones = x.shape[2] * x.shape[3], np.ones(x.shape[1], x.dtype)
    _, pullback, (mean, var) = ops.batch_norm_train(x, ones, 0 * ones, eps=eps)
    sums = (pullback(one[None])[1:] for one in dy)  # dγ = Σ dy · x̂ and dβ = Σ dy
    means = np.stack([np.stack([dbeta / m, dgamma / m]) for dgamma, dbeta in sums])
    return np.stack([mean, 1 / np.sqrt(var + eps)]), means


def affine_map(module: Module, x: Array) -> tuple[Array, Array]:
    """(a, b) of y = a x + b, with the very roundings of the op: the image of 0, and the pullback of 1."""
    b, pullback = module.vjp(np.zeros((1, x.shape[1], 1, 1), x.dtype))
    return pullback(np.ones_like(b)).ravel(), b.ravel()


def window_of(module: Conv2d) -> dict[str, Any]:
    """Stride, padding and dilation."""
    return {key: value for key, value in module.window().items() if key != "groups"}
