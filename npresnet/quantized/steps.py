"""The steps of a quantized network, from integers of 8 bits to integers of 8 bits: :mod:`npresnet.ops.quantized`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn, ops
from ..backend import Array
from ..ops import Quantized
from ..ops.check import pair


@dataclass(frozen=True)
class IntegerStep:
    """One step: its name, and the names of the steps that it reads."""

    name: str
    inputs: tuple[str, ...]

    def __call__(self, *x: Quantized) -> Quantized:
        raise NotImplementedError


@dataclass(frozen=True)
class Scaled(IntegerStep):
    """A step whose result has a scale and a zero point of its own, and that may end in a ReLU."""

    scale: float
    zero_point: int
    relu: bool

    @property
    def levels(self) -> tuple[int, int]:
        """Those of the result: with a ReLU the first is the real 0."""
        return (self.zero_point if self.relu else 0), 255


@dataclass(frozen=True)
class Weighted(Scaled):
    """A convolution or a classifier: q = clamp(round((Σ w (x − z_x) + b / s) · s / s_y) + z_y) with s = s_x s_w."""

    weight: Array  # int8
    weight_scale: Array  # (F,) float32
    bias: Array  # (F,) float32, a real number
    window: dict[str, Any]  # of a convolution: stride, padding, dilation, groups

    def __call__(self, *x: Quantized) -> Quantized:
        q = ops.requantize(
            self.sums(x[0]), *self.multiplier_and_bias(x[0].scale), zero_point=self.zero_point, levels=self.levels
        )
        return Quantized(q, self.scale, self.zero_point)

    def multiplier_and_bias(self, x_scale: float) -> tuple[Array, Array]:
        """s / s_y and b / s with s = s_x s_w, of each filter, in float32."""
        scale = np.float32(x_scale) * self.weight_scale
        return scale / np.float32(self.scale), self.bias / scale

    def sums(self, x: Quantized) -> Array:
        """Σ w (x − z_x), in 32 bits."""
        if self.weight.ndim == 2:
            return ops.integer_linear(x.q, self.weight, zero_point=x.zero_point)
        return ops.integer_conv2d(x.q, self.weight, zero_point=x.zero_point, **self.window)


@dataclass(frozen=True)
class Add(Scaled):
    """The sum of two paths, on a scale of its own."""

    def __call__(self, *x: Quantized) -> Quantized:
        return ops.quantized_add(*x, scale=self.scale, zero_point=self.zero_point, levels=self.levels)


@dataclass(frozen=True)
class Kept(IntegerStep):
    """A layer that keeps the scale of what it reads."""

    layer: nn.Module

    def __call__(self, *x: Quantized) -> Quantized:
        return kept(self.layer, *x)


def kept(layer: nn.Module, x: Quantized) -> Quantized:
    """What a layer that keeps the scale makes of x."""
    static: dict[str, Any] = getattr(layer, "static", {})
    if isinstance(layer, nn.MaxPool2d):
        return ops.quantized_max_pool2d(x, **static)
    if isinstance(layer, nn.AvgPool2d):
        return ops.quantized_avg_pool2d(x, **static)
    if isinstance(layer, nn.GlobalAvgPool2d):
        return ops.quantized_mean(x)
    if isinstance(layer, nn.ReLU):
        return ops.quantized_relu(x)
    if isinstance(layer, nn.Subsample):
        down, across = pair(static["stride"])
        return x._replace(q=x.q[:, :, ::down, ::across])
    if isinstance(layer, nn.ZeroPadChannels):  # the real 0 is the integer z
        sides = static["before"], static["after"]
        return x._replace(q=np.pad(x.q, ((0, 0), sides, (0, 0), (0, 0)), constant_values=x.zero_point))
    raise TypeError(f"a {type(layer).__name__} has no equivalent on integers")
