"""PyTorch's quantized tensors: integers of 8 bits with a scale and a zero point, or one of each for every channel.

[T] torch/_utils.py, _rebuild_qtensor
"""

from typing import Any

from ..errors import WeightsError
from ..tensors import Storage, Tensor
from ..unpickle.record import Placeholder, Record

REASON = (
    "a quantised tensor; npresnet.load_quantized(path) reads torchvision's quantised networks; for others, save the "
    "model before it was quantised, or call dequantize() on its tensors"
)
INTEGERS = {"qint8": "int8", "quint8": "uint8"}  # the storage's dtype → that of its numbers
PER_TENSOR, PER_CHANNEL = "torch.per_tensor_affine", "torch.per_channel_affine"


class QuantizedTensor(Placeholder):
    """A tensor of integers q that stands for s (q − z); to whoever needs real numbers it cannot be read.

    ``scale`` and ``zero_point`` are numbers, or Tensors of one number for each index of the axis ``axis``.
    """

    __slots__ = ("axis", "integers", "scale", "zero_point")

    def __init__(self, integers: Tensor, scale: Any, zero_point: Any, axis: int | None):
        super().__init__("torch.Tensor", REASON)
        self.integers, self.scale, self.zero_point, self.axis = integers, scale, zero_point, axis


def rebuild_quantized(*args: Any) -> Placeholder:
    """What [T] makes of (storage, offset, size, stride, (scheme, scale, zero point[, axis]), …)."""
    if len(args) < 5 or type(args[0]) is not Storage or args[0].dtype not in INTEGERS or type(args[4]) is not tuple:
        return Placeholder("torch.Tensor", REASON)
    storage, offset, size, stride, (scheme, *parameters) = args[:5]
    name, kinds = scheme.name if type(scheme) is Record else "", [type(part) for part in parameters]
    if (name, kinds) not in ((PER_TENSOR, [float, int]), (PER_CHANNEL, [Tensor, Tensor, int])):
        return Placeholder("torch.Tensor", REASON)
    integers = Tensor(storage, offset, size, stride, INTEGERS[storage.dtype])
    axis = parameters[2] if name == PER_CHANNEL else None
    if axis is not None and not 0 <= axis < len(size):
        raise WeightsError(f"a quantised tensor of {len(size)} axes has no axis {axis}")
    return QuantizedTensor(integers, parameters[0], parameters[1], axis)
