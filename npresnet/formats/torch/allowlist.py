"""The allow-list for PyTorch's pickles: what each global that a state dict needs stands for here.

Tensors, parameters, storages, dtypes, plain containers, and NumPy's numbers and arrays are read.  Quantised tensors
keep their integers (quantized.py); to all who need real numbers they are Placeholders, as sparse, nested and meta
tensors and those with conjugate bits are, which say what to do where they are needed.
Every other global becomes a Record.  The names follow torch._weights_only_unpickler.
"""

from copy import copy
from typing import Any

from ..errors import WeightsError, quoted
from ..tensors import DTYPES, Storage, Tensor
from ..unpickle.encoded import latin1_bytes
from ..unpickle.numpy_objects import NUMPY_GLOBALS
from ..unpickle.record import Placeholder, Record, Unreadable
from ..unpickle.stack_machine import Dict, checked_key
from .quantized import rebuild_quantized

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
SPARSE = Unreadable("a sparse tensor; call to_dense() on it and save again")
NESTED = Unreadable("a nested tensor; convert it to a plain one, nested.to_padded_tensor(0), and save again")
META = Unreadable("a tensor on the device 'meta', which has no data; save the model after its weights are loaded")
WRAPPER = Unreadable(
    "a tensor of a class of its own (distributed, quantised …); convert it to a plain one and save again"
)
CONJUGATE = "a tensor with conjugate or negative bits; call resolve_conj().resolve_neg() and save again"


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
        return Placeholder("torch.Tensor", CONJUGATE)
    return Tensor(storage, offset, size, stride)


def rebuild_typed_tensor(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None):
    if metadata:
        return Placeholder("torch.Tensor", CONJUGATE)
    if type(dtype) is Record and dtype.args is None:
        return Placeholder("torch.Tensor", f"a tensor of {quoted(dtype.kind)} is not read; convert it to float32")
    return Tensor(storage, offset, size, stride, dtype_of(dtype))


def parameter(data=None, requires_grad=True, hooks=None, state=None):
    """A tensor of its own over the same storage.  A Parameter that is made empty gets its data from BUILD."""
    if data is None:
        data = Tensor.contiguous(Storage("float32", 0).fill(b""), (0,))
    if isinstance(data, Placeholder):
        return data
    if not isinstance(data, Tensor):
        raise WeightsError(f"a Parameter must hold a tensor, not {quoted(data)}")
    return copy(data)


def ordered_dict(pairs=()):
    if type(pairs) not in (list, tuple) or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise WeightsError("an OrderedDict is made of pairs")
    return Dict((checked_key(key), value) for key, value in pairs)


def subclass(function, kind, args=(), state=None):
    """A tensor of a class of its own, or with attributes: what its own function rebuilds."""
    for known in (rebuild_tensor, rebuild_typed_tensor, parameter):
        if getattr(function, "call", None) is known and type(args) is tuple:
            return known(*args)
    return Placeholder("torch.Tensor", WRAPPER)


def sequence(items=(), *rest):
    """A list, of what a deque or TorchScript's typed list holds."""
    return list(items) if type(items) in (list, tuple) else []


def counter(counts=()):
    return Dict(counts if isinstance(counts, dict) else ())


def plain_set(items=()):
    return {checked_key(item) for item in items}


def byte_array(data=b"", *encoding):
    if type(data) is str:
        data = latin1_bytes(data, *encoding)
    if type(data) not in (bytes, bytearray, memoryview):
        raise WeightsError("a bytearray is made of bytes")
    return bytearray(data)


def complex_number(real=0.0, imag=0.0):
    if type(real) not in (int, float) or type(imag) not in (int, float):
        raise WeightsError("a complex number is made of two numbers")
    return complex(real, imag)


BUILTINS = ("builtins", "__builtin__")
BITS = ("qint8", "quint8", "qint32", "quint4x2", "quint2x4")  # the dtypes of quantised tensors
FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")

TORCH_GLOBALS: dict[str, Any] = {
    **NUMPY_GLOBALS,
    "collections OrderedDict": ordered_dict,
    "collections Counter": counter,
    "collections defaultdict": lambda factory=None, *pairs: Dict(),
    "collections deque": sequence,
    "_codecs encode": latin1_bytes,
    **{f"{module} set": plain_set for module in BUILTINS},
    **{f"{module} frozenset": plain_set for module in BUILTINS},
    **{f"{module} bytearray": byte_array for module in BUILTINS},
    **{f"{module} bytes": lambda: b"" for module in BUILTINS},  # which protocol 2 calls for empty bytes
    **{f"{module} complex": complex_number for module in BUILTINS},
    "torch Size": lambda sizes=(): tuple(sizes),
    "torch device": lambda *name: None,
    "torch.jit._pickle restore_type_tag": lambda value, kind=None: value,
    **{f"torch.jit._pickle build_{kind}list": sequence for kind in ("int", "double", "bool", "tensor")},
    "torch._utils _rebuild_tensor": rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": rebuild_typed_tensor,
    "torch._utils _rebuild_parameter": parameter,
    "torch._utils _rebuild_parameter_with_state": parameter,
    "torch._utils _rebuild_device_tensor_from_cpu_tensor": lambda data, *rest: parameter(data),
    "torch._tensor _rebuild_from_type_v2": subclass,
    "torch._tensor _rebuild_from_type": lambda function, kind, args=(), state=None: subclass(function, kind, args),
    "torch.nn.parameter Parameter": parameter,
    "torch.nn.parameter Buffer": parameter,
    "torch.storage UntypedStorage": DType("uint8"),
    "torch UntypedStorage": DType("uint8"),
    "torch._utils _rebuild_qtensor": rebuild_quantized,
    "torch._utils _rebuild_sparse_tensor": SPARSE,
    "torch._utils _rebuild_sparse_csr_tensor": SPARSE,
    "torch._utils _rebuild_nested_tensor": NESTED,
    "torch._utils _rebuild_meta_tensor_no_storage": META,
    "torch._utils _rebuild_wrapper_subclass": WRAPPER,
    **{f"torch {name}": DType(name) for name in (*DTYPES, *BITS, *FLOAT8)},
    **{f"{module} {name}": DType(dtype) for name, dtype in STORAGES.items() for module in ("torch", "torch.cuda")},
    **{
        f"{module} {name.replace('Storage', 'Tensor')}": DType(dtype)
        for name, dtype in STORAGES.items()
        for module in ("torch", "torch.cuda")
    },
    "torch QInt8Storage": DType("qint8"),
    "torch QUInt8Storage": DType("quint8"),
    "torch QInt32Storage": DType("qint32"),
    "torch QUInt4x2Storage": DType("quint4x2"),
    "torch QUInt2x4Storage": DType("quint2x4"),
}
