"""The steps of a network before it is quantized, and how steps are run, before and after.

[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from .. import nn, ops
from ..backend import Array, as_array, floating

INPUT = "input"  # the name of what the first step reads
SUMS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)  # whose results need a scale of their own, as those of an addition do
KEEP = (nn.MaxPool2d, nn.AvgPool2d, nn.GlobalAvgPool2d, nn.Subsample, nn.ZeroPadChannels, nn.ReLU)  # the scale they get

Value = TypeVar("Value")


class Step(Protocol[Value]):
    """One step, of a float network or of a quantized one."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    def __call__(self, *values: Value) -> Value: ...


Steps = TypeVar("Steps", bound=Step[Any])


@dataclass(frozen=True)
class FloatStep:
    """Layers that run one after the other; of two inputs, behind their sum."""

    name: str
    inputs: tuple[str, ...]
    layers: tuple[nn.Module, ...] = ()

    def __call__(self, x: Array, *other: Array) -> Array:
        for second in other:
            x, _ = ops.add(x, second)
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def has_scale(self) -> bool:
        """Whether its result gets a scale of its own, rather than that of what it reads."""
        return len(self.inputs) > 1 or isinstance(self.layers[0], SUMS)

    @property
    def relu(self) -> bool:
        """Whether it ends in one."""
        return bool(self.layers) and isinstance(self.layers[-1], nn.ReLU)

    @property
    def window(self) -> dict[str, Any]:
        """The static arguments of its convolution; a batch norm alone is one of 1×1, of each channel by itself."""
        layer = self.layers[0]
        if isinstance(layer, nn.BatchNorm2d):
            return {"groups": self.weight_shape[0]}
        return layer.window() if isinstance(layer, nn.Conv2d) else {}

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """That of its weights."""
        layer = self.layers[0]
        if isinstance(layer, nn.BatchNorm2d):
            return *layer.affine_map()[0].shape, 1, 1, 1
        return np.shape(vars(layer)["weight"].value)

    def affine(self) -> tuple[Array, Array]:
        """(w, b) in float64, of its convolution or classifier with the batch norm behind it.

        BN(w ⋆ x + b) = a (w ⋆ x + b) + c = (a w) ⋆ x + (a b + c).                                        [J] Eq. 14
        """
        layer, norms = self.layers[0], [layer for layer in self.layers if isinstance(layer, nn.BatchNorm2d)]
        w, b = np.ones(self.weight_shape), np.zeros(self.weight_shape[0])
        if isinstance(layer, nn.Conv2d | nn.Linear):
            w = layer.weight.value.astype(np.float64)
            b = b if layer.bias is None else layer.bias.value.astype(np.float64)
        for norm in norms:
            a, c = norm.affine_map()
            w, b = w * a.reshape(-1, *(1,) * (w.ndim - 1)), a * b + c
        return w, b


def batches_of(images: Array | Iterable[Array]) -> Iterator[Array]:
    """The batches of images that a caller gave, or the one; ValueError where they are none, or there are no images."""
    seen = 0
    if not isinstance(images, Iterable):
        raise ValueError(f"images are an array (N, C, H, W) or batches of them, not a {type(images).__name__}")
    for batch in [images] if hasattr(images, "ndim") else images:
        x = as_array(batch, "images")
        if getattr(x, "ndim", None) != 4 or not floating(x.dtype):
            raise ValueError(
                f"preprocessed images (N, C, H, W) are needed, not {getattr(x, 'shape', type(x).__name__)}"
            )
        seen += len(x)
        if len(x):
            yield x
    if not seen:
        raise ValueError("no image was given")


def run(steps: Sequence[Steps], x: Any) -> Iterator[tuple[Steps, Any]]:
    """Each step with its result, in their order; a result is forgotten behind the last step that reads it."""
    last = {name: step for step in steps for name in step.inputs}
    results = {INPUT: x}
    for step in steps:
        results[step.name] = step(*(results[name] for name in step.inputs))
        yield step, results[step.name]
        for name in set(step.inputs):
            if last[name] is step:
                del results[name]
