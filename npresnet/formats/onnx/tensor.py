"""Reads ONNX's arrays, TensorProto [O]: a shape, a type, and numbers in one of seven fields, or in another file.

The bytes stay where they lie in the file, unless they are varints, which are decoded.

[O] https://github.com/onnx/onnx, onnx/onnx.proto, whose field numbers these are
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..stream import Budget
from ..tensors import MAX_DIMENSIONS, Storage, Tensor, itemsize
from .wire import fields, packed_array, varints

Beside = Callable[[str], memoryview]  # the bytes of a file beside this one
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
}
LISTS = {4: ("float32", "complex64"), 10: ("float64", "complex128")}  # field of a tensor → what its bytes are


class TensorReader:
    """Reads messages; every field costs a step, every name and number what it takes in Python."""

    def __init__(self, budget: Budget, beside: Beside | None = None):
        self.budget, self.beside = budget, beside

    def fields(self, data: Any) -> Iterator[tuple[int, Any]]:
        """(number, value) of each field of a message."""
        if isinstance(data, int):
            raise WeightsError("a number stands where a message belongs")
        return fields(data, self.budget)

    def text(self, data: Any) -> str:
        if isinstance(data, int):
            raise WeightsError("a number stands where a text belongs")
        self.budget.spend(64 + 4 * len(data), "a name")
        return str(data, "utf-8")

    def pair(self, data: Any) -> tuple[str, str]:
        """A StringStringEntryProto."""
        found = {number: self.text(value) for number, value in self.fields(data)}
        return found.get(1, ""), found.get(2, "")

    def tensor(self, data: Any) -> tuple[str, Tensor]:
        """A TensorProto: (name, Tensor), its bytes where they lie."""
        self.budget.spend(2048, "an array")
        name, dtype, size, content, elsewhere = "", 0, [], [], {}
        for number, value in self.fields(data):
            if number == 1:
                size += varints(value, self.budget)
            elif number == 2:
                dtype = value
            elif number == 8:
                name = self.text(value)
            elif number in (4, 5, 7, 9, 10, 11):
                content.append((number, value))
            elif number == 13:
                key, text = self.pair(value)
                elsewhere[key] = text
            elif number == 14 and value == 1:
                elsewhere.setdefault("location", "")
            if len(size) > MAX_DIMENSIONS:
                raise WeightsError(f"{quoted(name)} has more than {MAX_DIMENSIONS} dimensions")
        with error_context(quoted(name)):
            if dtype not in DTYPES:
                raise WeightsError(f"its numbers are of ONNX's type {dtype}, which is not read; export it in float32")
            if any(count < 0 for count in size):
                raise WeightsError(f"a size is negative: {quoted(str(size))}")
            count = math.prod(size)
            storage = Storage(DTYPES[dtype], count)
            if elsewhere:
                storage.fill(self.outside(elsewhere, storage.nbytes))
            else:
                self.fill(storage, content)
            return name, Tensor.contiguous(storage, size)

    def fill(self, storage: Storage, content: list[tuple[int, Any]]) -> None:
        """Give a storage the bytes of the field that holds them, wherever that is possible without a copy."""
        numbers = {number for number, _ in content}
        if len(numbers) > 1:
            raise WeightsError("its numbers stand in several fields")
        if not content:
            storage.fill(b"")
        elif numbers == {9} or (numbers <= LISTS.keys() and storage.dtype in LISTS[min(numbers)]):
            views = [view for _, view in content]
            if len(views) > 1:
                self.budget.spend(sum(map(len, views)), "the numbers of an array")
            storage.fill(views[0] if len(views) == 1 else b"".join(views))
        elif numbers <= {5, 7, 11}:
            self.decode(storage, content)
        else:
            raise WeightsError(f"its numbers are {storage.dtype} and stand in the field of another type")

    def decode(self, storage: Storage, content: list[tuple[int, Any]]) -> None:
        """Varints in int32_data, int64_data or uint64_data; halves stand there by their bits."""
        code = {2: "<u2", 4: "<u4", 8: "<u8", 1: "u1"}.get(itemsize(storage.dtype), "<u8")
        pieces = []
        for _, value in content:
            if isinstance(value, int):
                self.budget.spend(8, "a number")
                pieces.append((value % 2**64).to_bytes(8, "little")[: itemsize(storage.dtype)])
            else:
                self.budget.spend(2 * len(value), "the numbers of an array")
                pieces.append(packed_array(value, self.budget).astype(code).tobytes())
        storage.fill(b"".join(pieces))

    def outside(self, entries: dict[str, str], nbytes: int) -> memoryview:
        """The bytes of an array that lie in another file."""
        if self.beside is None:
            raise WeightsError("its numbers lie in another file, and only a file is looked for beside a file")
        whole = self.beside(entries.get("location", ""))
        offset, length = (entries.get(key, usual) for key, usual in (("offset", "0"), ("length", str(nbytes))))
        if not all(len(text) < 20 and text.isascii() and text.isdigit() for text in (offset, length)):
            raise WeightsError(f"the place of its numbers, {quoted(offset)}, {quoted(length)}, is none")
        start, stop = int(offset), int(offset) + int(length)
        if stop > len(whole):
            raise WeightsError(f"its numbers end at byte {stop:,} of a file of {len(whole):,}")
        return whole[start:stop]
