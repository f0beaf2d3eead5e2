"""The allow-list for PyTorch's pickles: what each global that a state dict needs stands for here.

Tensors, parameters, storages, dtypes, OrderedDict, Counter, set, Size and device are read; so are the globals that
optimizers and schedulers leave in a training checkpoint, which are then ignored.  Quantised tensors, tensors with
conjugate bits and every other global are refused.  The names follow torch._weights_only_unpickler.
"""

from copy import copy
from typing import Any

from ..errors import WeightsError, quoted
from ..tensors import DTYPES, Storage, Tensor
from ..unpickle.stack_machine import Dict, Refusal, checked_key

CURE = "where the file was made, keep only the arrays: torch.save(model.state_dict(), path)"

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
QUANTISED = Refusal("a quantised tensor; save the model before it was quantised, or call dequantize() on its tensors")


class DType(str):
    """A dtype or a storage type, by torch's name of its elements.  It cannot be called."""

    def __call__(self, *args):
        raise WeightsError("a dtype is no function")


def dtype_of(storage_type: Any) -> str:
    """The element dtype that a global of the allow-list stands for."""
    kind = getattr(storage_type, "call", None)
    if type(kind) is not DType:
        raise WeightsError(f"{quoted(storage_type)} is no storage type")
    return str(kind)


def rebuild_tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    if metadata:
        raise WeightsError("a tensor with conjugate or negative bits; call resolve_conj().resolve_neg() and save again")
    return Tensor(storage, offset, size, stride)


def rebuild_typed_tensor(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None):
    if metadata:
        raise WeightsError("a tensor with metadata of its own is not read")
    return Tensor(storage, offset, size, stride, dtype_of(dtype))


def parameter(data=None, requires_grad=True, hooks=None, state=None):
    """A tensor of its own over the same storage.  A Parameter that is made empty gets its data from BUILD."""
    if data is None:
        data = Tensor.contiguous(Storage("float32", 0).fill(b""), (0,))
    if not isinstance(data, Tensor):
        raise WeightsError(f"a Parameter must hold a tensor, not {quoted(data)}")
    return copy(data)


def ordered_dict(pairs=()):
    if type(pairs) not in (list, tuple) or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise WeightsError("an OrderedDict is made of pairs")
    return Dict((checked_key(key), value) for key, value in pairs)


def counter(counts=()):
    return Dict(counts if isinstance(counts, dict) else ())


def plain_set(items=()):
    return {checked_key(item) for item in items}


def latin1_bytes(text, encoding):
    """The bytes that protocol 2 writes as text."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise WeightsError("only latin1 text can become bytes")
    return text.encode("latin1")


TORCH_GLOBALS: dict[str, Any] = {
    "collections OrderedDict": ordered_dict,
    "collections Counter": counter,
    "builtins set": plain_set,
    "__builtin__ set": plain_set,
    "_codecs encode": latin1_bytes,
    "torch Size": lambda sizes=(): tuple(sizes),
    "torch device": lambda *name: None,
    "torch._utils _rebuild_tensor": rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": rebuild_typed_tensor,
    "torch._utils _rebuild_parameter": parameter,
    "torch._utils _rebuild_parameter_with_state": parameter,
    "torch.nn.parameter Parameter": parameter,
    "torch.storage UntypedStorage": DType("uint8"),
    "torch UntypedStorage": DType("uint8"),
    "torch._utils _rebuild_qtensor": QUANTISED,
    **{f"torch {name}": DType(name) for name in DTYPES},
    **{f"{module} {name}": DType(dtype) for name, dtype in STORAGES.items() for module in ("torch", "torch.cuda")},
    **{
        f"{module} {name.replace('Storage', 'Tensor')}": DType(dtype)
        for name, dtype in STORAGES.items()
        for module in ("torch", "torch.cuda")
    },
    **{
        f"torch {name}": QUANTISED
        for name in (
            "QInt8Storage",
            "QUInt8Storage",
            "QInt32Storage",
            "QUInt4x2Storage",
            "QUInt2x4Storage",
            "qint8",
            "quint8",
            "qint32",
            "per_tensor_affine",
            "per_channel_affine",
        )
    },
}
