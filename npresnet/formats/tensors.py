"""Storages and tensors, into which every reader turns its bytes: a tensor is a view (offset, size, stride) of one.

Nothing is allocated while a file is interpreted: a Tensor only notes what the file says of it.  ``array()`` then checks
the view against the storage's real bytes, pays from the budget, and copies.  Views past the end, negative or huge sizes
and strides, and more than 32 dimensions are refused.  The model is PyTorch's, torch._utils._rebuild_tensor_v2.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .errors import WeightsError, quoted
from .stream import Budget, Bytes, non_negative
from .unpickle.stack_machine import Buildable

DTYPES = {  # torch's name → NumPy's code; bfloat16 has none and is read as the upper half of a float32
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "bool": "?",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "complex64": "c8",
    "complex128": "c16",
}
TORCH_NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "bfloat16"}
OTHER_SIZES = {  # of elements that are not read: quantised ones, and float8
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
    "quint4x2": 1,
    "quint2x4": 1,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}
HALVES = ("float16", "bfloat16")
MAX_DIMENSIONS = 32  # that the readers take
KEY = "npresnet"  # under which a file of ours holds a text beside its arrays
QUANTIZED = "npresnet-int8"  # and one of a quantized network


def itemsize(dtype: str) -> int:
    """The bytes of one element of torch's dtype of that name."""
    return OTHER_SIZES[dtype] if dtype in OTHER_SIZES else np.dtype(DTYPES[dtype]).itemsize


class Storage:
    """A run of elements of one dtype.  ``data`` may arrive after the tensors that view it."""

    __slots__ = ("byteorder", "data", "dtype", "numel")

    def __init__(self, dtype: str, numel: int, byteorder: str = "<"):
        self.dtype, self.numel = dtype, non_negative(numel, "a storage's count")
        self.byteorder: str = byteorder
        self.data: memoryview | None = None

    @property
    def nbytes(self) -> int:
        return self.numel * itemsize(self.dtype)

    def fill(self, data: Bytes) -> "Storage":
        """Take over the bytes, which must be as many as declared."""
        if len(data) != self.nbytes:
            raise WeightsError(f"a storage declares {self.nbytes:,} bytes and has {len(data):,}")
        self.data = memoryview(data)
        return self

    def part(self, offset: int, numel: int) -> memoryview:
        """The bytes of ``numel`` elements from ``offset``."""
        stop = non_negative(offset, "a view's offset") + non_negative(numel, "a view's count")
        if self.data is None or stop > self.numel:
            raise WeightsError(f"a view ends at element {stop:,} of a storage of {self.numel:,}")
        size = itemsize(self.dtype)
        return self.data[offset * size : stop * size]


class Tensor(Buildable):
    """value[i, j, …] = elements[offset + i·stride[0] + j·stride[1] + …] of a storage."""

    def __init__(
        self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], dtype: str | None = None
    ):
        self.set(storage, offset, size, stride, dtype)

    @classmethod
    def contiguous(cls, storage: Storage, size: Iterable[int]) -> "Tensor":
        """The tensor of that size in C order from the storage's start."""
        size = tuple(size)
        return cls(storage, 0, size, tuple(math.prod(size[i + 1 :]) for i in range(len(size))))

    @classmethod
    def of(cls, array: np.ndarray) -> "Tensor":
        """An array in memory as a file's tensor, without a copy where it is in C order."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        return cls.contiguous(Storage(TORCH_NAMES[array.dtype.newbyteorder("=")], array.size).fill(data), array.shape)

    def set(
        self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], dtype: str | None = None
    ) -> None:
        """Take over what a file says, the types and signs checked."""
        if not isinstance(storage, Storage) or type(size) is not tuple or type(stride) is not tuple:
            raise WeightsError("a tensor must be made of a storage, a size and a stride")
        if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
            raise WeightsError(f"a tensor has {len(size)} sizes and {len(stride)} strides")
        self.size = tuple(non_negative(n, "a tensor's size") for n in size)
        self.stride = tuple(non_negative(n, "a tensor's stride") for n in stride)
        self.storage, self.offset = storage, non_negative(offset, "a tensor's offset")
        self.dtype = storage.dtype if dtype is None else dtype

    def build(self, state: Any) -> None:
        """The states of a Variable of 2017 [torch/_tensor.py, __setstate__]; only the data matters here."""
        if type(state) is not tuple or len(state) not in (3, 4, 5):
            raise WeightsError("the state of a tensor must have three to five items")
        if len(state) == 4:
            self.set(*state)  # storage, offset, size, stride
        elif len(state) == 5:
            if not isinstance(state[0], Tensor):
                raise WeightsError(f"the data of a Parameter must be a tensor, not {quoted(state[0])}")
            vars(self).update(vars(state[0]))  # data, …

    def address(self) -> int:
        """Where its storage's bytes start in this process's memory."""
        data = self.storage.data
        return np.frombuffer(data, np.uint8).__array_interface__["data"][0] if data else 0

    def array(self, budget: Budget, float32: bool = False) -> np.ndarray:
        """A fresh array of the machine's own byte order, in C order, float16 widened to float32 where asked."""
        if self.dtype not in DTYPES:
            raise WeightsError(f"a tensor of {self.dtype} is not read; convert it to float32 and save again")
        widen = self.dtype == "bfloat16" or (float32 and self.dtype in HALVES)
        bytes_out = 4 if widen else itemsize(self.dtype)
        budget.spend(math.prod(max(n, 1) for n in self.size) * bytes_out, f"an array of shape {quoted(str(self.size))}")
        view = self.view()
        if self.dtype == "bfloat16":
            bits = view.astype(np.uint32, order="C")  # a bfloat16 is the upper half of a float32
            bits <<= np.uint32(16)
            return bits.view(np.float32)
        if self.dtype == "bool":
            return np.asarray(np.not_equal(view, 0, order="C"))
        return view.astype(np.float32 if widen else view.dtype.newbyteorder("="), order="C")

    def view(self) -> np.ndarray:
        """The numbers where they lie in the storage, of its byte order; a bfloat16 by its bits."""
        storage, size = self.storage, self.size
        if storage.data is None:
            raise WeightsError("a storage that a tensor needs is not in the file")
        code = np.dtype("u1" if self.dtype == "bool" else storage.byteorder + DTYPES[self.dtype])
        end = self.offset + sum((n - 1) * s for n, s in zip(size, self.stride)) + 1 if all(size) else 0
        count = len(storage.data) // code.itemsize
        if end > count:
            raise WeightsError(f"a tensor reaches element {end:,} of a storage of {count:,}")
        if not all(size):
            return np.empty(size, code)
        strides = [s * code.itemsize if n > 1 else 0 for n, s in zip(size, self.stride)]
        return np.ndarray(size, code, storage.data, self.offset * code.itemsize, strides)
