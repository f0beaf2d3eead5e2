"""PyTorch's quantized modules: what state_dict() would give of one, from what a pickle or TorchScript stores of it.

Their states are not those of other modules [T].  A convolution's is a tuple, its integers with their scales the
eleventh item; a classifier's integers and bias lie in an object of C++; the scale and the zero point of a result are
Python's numbers, which state_dict() makes tensors of.

[T] torch/ao/nn/quantized/modules: conv.py, linear.py, functional_modules.py
"""

from typing import Any

import numpy as np

from ..tensors import Tensor
from ..unpickle.record import Record
from .quantized import QuantizedTensor

CONVOLUTION = (  # the fields of its state
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "transposed",
    "output_padding",
    "groups",
    "padding_mode",
    "weight",
    "bias",
    "scale",
    "zero_point",
    "training",
)
INTEGERS, PACKED = CONVOLUTION.index("weight"), "_packed_params"
Arrays = list[tuple[str, Any]]


def convolution_fields(record: Record) -> dict[Any, Any] | None:
    """The fields of a quantized convolution; None for any other object."""
    state = record.state
    if type(state) is not tuple or len(state) != len(CONVOLUTION) or not isinstance(state[INTEGERS], QuantizedTensor):
        return None
    return dict(zip(CONVOLUTION, state))


def convolution_arrays(fields: dict[Any, Any]) -> Arrays:
    """What state_dict() names of a convolution."""
    arrays = [(name, fields[name]) for name in ("weight", "bias") if fields[name] is not None]
    return arrays + scale_arrays(fields)


def scale_arrays(fields: dict[Any, Any]) -> Arrays:
    """The scale and the zero point of a result, where they are numbers, as tensors of one."""
    scale, zero_point = fields.get("scale"), fields.get("zero_point")
    if type(scale) is not float or type(zero_point) is not int or not -(2**31) <= zero_point < 2**31:
        return []
    with np.errstate(over="ignore"):
        number = np.asarray(scale).astype(np.float32)
    return [("scale", Tensor.of(number)), ("zero_point", Tensor.of(np.asarray(zero_point, np.int64)))]


def packed_arrays(state: dict[Any, Any]) -> Arrays:
    """The pair (integers, bias) of a classifier: the state of the C++ object in its packed parameters."""
    packed = state.get(PACKED)
    pair = packed.state if isinstance(packed, Record) else None
    if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is tuple:
        pair = pair[0]  # in a pickle the class's name follows
    whole = type(pair) is tuple and len(pair) == 2 and isinstance(pair[0], QuantizedTensor)
    return [(PACKED, pair)] if whole else []
