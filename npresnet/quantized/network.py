"""A quantized network: integers of 8 bits from the image to the scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import nn, ops
from ..backend import Array, as_array
from ..formats.errors import WeightsError, quoted
from ..formats.tensors import KEY
from ..models import Spec
from ..ops import Quantized
from ..weights.metadata import model_metadata
from .float_step import INPUT, FloatStep, run
from .steps import Add, IntegerStep, Kept, Scaled, Weighted

WEIGHTS = ("weight", "weight_scale", "bias")  # the arrays of a step with weights; beside them, of every one with a
SCALE = ("scale", "zero_point")  # scale of its own


class QuantizedNetwork:
    """``network(x)`` takes images and returns scores as a model does; between them it computes on integers alone.

    ``steps`` are its layers in the order they run; ``spec``, ``preprocessing`` and ``classes`` are those of the model
    that it stands for, ``metadata`` the text that says how that was built.
    """

    def __init__(self, steps: Sequence[IntegerStep], scale: float, zero_point: int, like: Any = None):
        self.steps, self.scale, self.zero_point = list(steps), scale, zero_point
        self.spec: Spec | None = getattr(like, "spec", None)
        self.preprocessing: Any = getattr(like, "preprocessing", None)
        self.classes: Sequence[str] | None = getattr(like, "classes", None)
        self.metadata = description(like)

    def __call__(self, x: Array) -> Array:
        """The scores (N, K) float32 of images x (N, C, H, W), of any floating-point dtype."""
        return ops.dequantize(*self.integers(x))

    def logits(self, x: Array) -> Array:
        """The same: a softmax at the model's end is left out."""
        return self(x)

    def integers(self, x: Array) -> Quantized:
        """The scores before they become real numbers."""
        *_, (_, scores) = self.run(x)
        return scores

    def run(self, x: Array) -> Iterator[tuple[IntegerStep, Quantized]]:
        """Each step with its result."""
        x = as_array(x)
        if getattr(x, "ndim", None) != 4:
            raise ValueError(f"images (N, C, H, W) are needed, not {getattr(x, 'shape', type(x).__name__)}")
        x = x.astype(np.float32, copy=False)
        q = ops.quantize(x, self.scale, self.zero_point)
        return run(self.steps, Quantized(q, self.scale, self.zero_point))

    def arrays(self) -> dict[str, Array]:
        """name → array: all that the steps store, under the names of the model's layers."""
        kinds = {"scale": "f4", "zero_point": "i8"}
        found = {f"{INPUT}.{name}": np.asarray(getattr(self, name), kind) for name, kind in kinds.items()}
        for step in self.steps:
            names = WEIGHTS * isinstance(step, Weighted) + SCALE * isinstance(step, Scaled)
            for name in names:
                found[f"{step.name}.{name}"] = np.asarray(getattr(step, name), kinds.get(name))
        return found

    @property
    def nbytes(self) -> int:
        """What its arrays take."""
        return sum(array.nbytes for array in self.arrays().values())

    def __repr__(self) -> str:
        name = self.spec.name if self.spec else "a network"
        return f"QuantizedNetwork({name}, {len(self.steps)} steps, {self.nbytes:,} bytes)"


def description(model: Any) -> str:
    """The text that says how a model was built; "" where none can."""
    try:
        return model_metadata(thawed(model)).get(KEY, "")
    except WeightsError:
        return ""


def thawed(model: Any) -> Any:
    """The model; where some of it is frozen, which matters to training alone, a copy of which nothing is."""
    if not isinstance(model, nn.Module):
        return model
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    if all(parameter.trainable for parameter in model.parameters()) and not any(norm.frozen for norm in norms):
        return model
    copy = model.copy()
    for parameter in copy.parameters():
        parameter.trainable = True
    for norm in copy.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.frozen = False
    return copy


def assemble(steps: Sequence[FloatStep], arrays: Mapping[str, Array], like: Any = None) -> QuantizedNetwork:
    """The quantized network of a float network's steps and of the arrays that :meth:`QuantizedNetwork.arrays` gives.

    Raises WeightsError, naming all that is missing and all that is not known, or the first that is wrong.
    """
    wanted = {f"{INPUT}.{name}" for name in SCALE}
    for step in steps:
        names = (WEIGHTS if is_weighted(step) else ()) + (SCALE if step.has_scale else ())
        wanted |= {f"{step.name}.{name}" for name in names}
    if wrong := [f"no {quoted(key)}" for key in sorted(wanted - arrays.keys())]:
        raise WeightsError(f"is no quantized network of this kind: {', '.join(wrong[:5])}" + ", …" * (len(wrong) > 5))
    if wrong := [quoted(key) for key in sorted(arrays.keys() - wanted)]:
        raise WeightsError(f"has arrays that belong nowhere: {', '.join(wrong[:5])}" + ", …" * (len(wrong) > 5))
    return QuantizedNetwork([integer_step(step, arrays) for step in steps], *scale_of(INPUT, arrays), like)


def is_weighted(step: FloatStep) -> bool:
    """Whether it is a convolution, a classifier or a batch norm alone."""
    return step.has_scale and len(step.inputs) == 1


def integer_step(step: FloatStep, arrays: Mapping[str, Array]) -> IntegerStep:
    """One step with its arrays."""
    if not step.has_scale:
        return Kept(step.name, step.inputs, step.layers[0])
    scale = *scale_of(step.name, arrays), step.relu
    if not is_weighted(step):
        return Add(step.name, step.inputs, *scale)
    weight, weight_scale, bias = (arrays[f"{step.name}.{name}"] for name in WEIGHTS)
    check_weights(step, weight, weight_scale, bias)
    return Weighted(step.name, step.inputs, *scale, weight, weight_scale, bias, step.window)


def scale_of(name: str, arrays: Mapping[str, Array]) -> tuple[float, int]:
    """(scale, zero point) of a step's result, checked."""
    scale, zero_point = (arrays[f"{name}.{part}"] for part in SCALE)
    if scale.size != 1 or zero_point.size != 1 or zero_point.dtype.kind not in "iu":
        raise WeightsError(f"{quoted(name)} needs one scale and one whole zero point")
    scale, zero_point = float(np.float32(scale.item())), int(zero_point.item())
    if not 0 < scale < np.inf or not 0 <= zero_point <= 255:
        raise WeightsError(f"{quoted(name)} has a scale or a zero point that cannot be: {scale}, {zero_point}")
    return scale, zero_point


def check_weights(step: FloatStep, weight: Array, scale: Array, bias: Array) -> None:
    """Raise WeightsError unless the arrays are those of the step's layer."""
    name, shape = quoted(step.name), step.weight_shape
    if weight.dtype != np.int8 or weight.shape != shape:
        raise WeightsError(f"{name} needs weights {shape} of int8, not {weight.shape} of {weight.dtype}")
    if scale.dtype != np.float32 or bias.dtype != np.float32 or {scale.shape, bias.shape} != {shape[:1]}:
        raise WeightsError(f"{name} needs a scale and a bias of float32 for each of its {shape[0]} channels")
    if not (np.isfinite(scale).all() and (scale > 0).all() and np.isfinite(bias).all()):
        raise WeightsError(f"{name} has a scale that is not positive, or a number that is not finite")
