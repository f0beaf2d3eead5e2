"""torchvision's quantized networks (torchvision.models.quantization), as torch.save writes their state_dict().

quant.scale, quant.zero_point                   of the images
conv1.weight                                    integers, a scale for each filter; the batch norm is folded in
conv1.bias, conv1.scale, conv1.zero_point       real numbers; of the result
layer1.0.add_relu.scale, …                      of a sum; skip_add_relu in a bottleneck
fc._packed_params._packed_params                (the integers, the bias)

FX graph mode calls the first conv1_input_scale_0, …, a sum's layer1_0_relu_scale_0, and layer1_0_relu_2_scale_0 in a
bottleneck; the others alike.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backend import Array
from ..formats.errors import WeightsError, error_context, quoted
from ..formats.stream import Budget
from ..formats.tensors import Tensor
from ..formats.torch.quantized import QuantizedTensor
from ..formats.unpickle.record import Placeholder
from ..models import build
from ..models.classifier import Classifier
from ..nn import placeholders
from ..weights.from_shapes import from_shapes
from .float_step import INPUT

PACKED = "._packed_params._packed_params"
NAMES = (  # a pattern of theirs → ours
    (r"^quant\.", f"{INPUT}."),
    (r"\.(skip_)?add_relu\.", ".add."),
    (r"^conv1_input_(scale|zero_point)_0$", rf"{INPUT}.\1"),
    (r"^(layer\d+)_(\d+)_relu(?:_\d+)?_(scale|zero_point)_0$", r"\1.\2.add.\3"),
)


def torchvision_arrays(entries: Mapping[str, Any], budget: Budget) -> dict[str, Array]:
    """The arrays under the names of :meth:`.QuantizedNetwork.arrays`."""
    found: dict[str, Array] = {}
    for key, value in entries.items():
        with error_context(quoted(key)):
            for name, array in named(key, value, budget):
                for pattern, ours in NAMES:
                    name = re.sub(pattern, ours, name)
                found[name] = array
    for key in [key for key in found if key.endswith(".weight")]:
        bias = key.removesuffix("weight") + "bias"
        found.setdefault(bias, np.zeros(len(found[key]), np.float32))
    return found


def named(key: str, value: Any, budget: Budget) -> Iterator[tuple[str, Array]]:
    """(name, array) of what one entry stores: a quantized tensor, a plain one, or the classifier's pair."""
    if key.endswith(PACKED) and type(value) is tuple and len(value) == 2:
        layer = key.removesuffix(PACKED)
        yield from named(f"{layer}.weight", value[0], budget)
        if value[1] is not None:
            yield from named(f"{layer}.bias", value[1], budget)
    elif isinstance(value, QuantizedTensor):
        weight, scale = weights(value, budget)
        yield key, weight
        yield f"{key}_scale", scale
    elif isinstance(value, Placeholder):
        raise WeightsError("a tensor, but none of real numbers, nor of integers of 8 bits with their scales")
    elif isinstance(value, Tensor):
        yield key, value.array(budget)


def weights(tensor: QuantizedTensor, budget: Budget) -> tuple[Array, Array]:
    """(w, s): int8 and the scale of each filter, in float32 as FBGEMM takes it; the zero point of weights must be 0."""
    q = tensor.integers.array(budget)
    scale, zero_point = (
        part.array(budget) if isinstance(part, Tensor) else np.asarray(part)
        for part in (tensor.scale, tensor.zero_point)
    )
    if q.dtype != np.int8 or q.ndim == 0 or tensor.axis not in (None, 0):
        raise WeightsError("weights are int8, with a scale for all or for each filter")
    if zero_point.any():
        raise WeightsError("weights with a zero point other than 0 are not read")
    if scale.shape not in ((), q.shape[:1]):
        raise WeightsError(f"{scale.size:,} scales are not one for each of {len(q):,} filters")
    return q, np.full(q.shape[:1], scale, np.float32)


def torchvision_model(arrays: Mapping[str, Array]) -> Classifier:
    """The float network of the family whose layers have these shapes, without its numbers."""
    shapes = {key: array.shape for key, array in arrays.items() if key.endswith(".weight") or key == "fc.bias"}
    for key, shape in list(shapes.items()):  # the batch norms that were folded into the convolutions
        norm = re.sub(r"conv(\d)\.weight$", r"bn\1.", key).replace("downsample.0.weight", "downsample.1.")
        if norm != key:
            shapes |= {norm + part: shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    found = from_shapes(shapes)
    with placeholders():
        model = build(found.name, found.num_classes, in_channels=found.in_channels, **found.options)
    model.preprocessing = found.preprocessing or model.preprocessing
    return model
