"""Reads and writes safetensors [S]: a length in 8 bytes, a JSON header of dtypes, shapes and places, the arrays' bytes.

The arrays' bytes must follow each other from 0 to the end of the file.  Repeated keys, gaps, overlaps, bytes behind the
last one, other fields, float or huge numbers in the header, and a header above 100 MB are refused.

[S] https://github.com/huggingface/safetensors, README "Format", and its validation in safetensors/src/tensor.rs
"""

import json
import math
from typing import Any, BinaryIO, NoReturn

import numpy as np

from .errors import WeightsError, error_context, quoted
from .stream import Budget, Bytes, Stream, non_negative, parse_json
from .tensors import MAX_DIMENSIONS, TORCH_NAMES, Storage, Tensor, itemsize
from .unpickle.record import Placeholder

MAX_HEADER = 100_000_000
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "BOOL": "bool",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}
NAMES = {name: code for code, name in DTYPES.items()}


def read_safetensors(data: Bytes, budget: Budget) -> tuple[dict[str, Tensor | Placeholder], dict[str, str]]:
    """(name → Tensor in the header's order, metadata)"""
    stream = Stream(data)
    size = stream.unpack("<Q")[0]
    if size > MAX_HEADER:
        raise WeightsError(f"the header takes {size:,} bytes, more than {MAX_HEADER:,}")
    text = stream.read(size)
    header = parse_header(text, budget)
    metadata = header.pop("__metadata__", {})
    if type(metadata) is not dict or any(type(value) is not str for value in metadata.values()):
        raise WeightsError("__metadata__ must map strings to strings")
    content, position, tensors = stream.data[stream.position :], 0, {}
    for name, entry in sorted(header.items(), key=lambda item: span(*item)):
        begin, end = entry["data_offsets"]
        if begin != position:
            raise WeightsError(f"the bytes of {quoted(name)} start at {begin:,}; the last tensor ends at {position:,}")
        with error_context(quoted(name)):
            tensors[name] = tensor(entry, content[begin:end])
        position = end
    if position != len(content):
        raise WeightsError(f"the tensors take {position:,} bytes, the file has {len(content):,}")
    return {name: tensors[name] for name in header}, metadata


def parse_header(text: memoryview, budget: Budget) -> dict[str, Any]:
    if text[:1] != b"{":
        raise WeightsError("the header does not start with '{'")
    budget.spend(4 * len(text), "the header, as text")
    header = parse_json(
        bytes(text).decode("utf-8"),
        "the header",
        budget,
        object_pairs_hook=unique,
        parse_int=integer,
        parse_float=refuse_number,
        parse_constant=refuse_number,
    )
    if type(header) is not dict:
        raise WeightsError("the header is no JSON object")
    return header


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dictionary, for json.loads, which would keep the last of two members of one name."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WeightsError("a key appears twice in the header")
    return found


def integer(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else refuse_number(digits)


def refuse_number(digits: str) -> NoReturn:
    raise WeightsError(f"{quoted(digits)} is no size or offset")


def span(name: str, entry: Any) -> tuple[int, int]:
    """The bytes [begin, end) of an entry, which has the three fields and no other."""
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"{quoted(name)} must have dtype, shape and data_offsets, nothing else")
    offsets = entry["data_offsets"]
    if type(offsets) is not list or len(offsets) != 2 or type(entry["shape"]) is not list:
        raise WeightsError(f"{quoted(name)} must have a shape and two data_offsets")
    begin, end = (non_negative(offset, f"a data offset of {quoted(name)}") for offset in offsets)
    if begin > end:
        raise WeightsError(f"{quoted(name)} ends before it begins")
    return begin, end


def tensor(entry: dict[str, Any], data: memoryview) -> Tensor | Placeholder:
    if type(entry["dtype"]) is not str:
        raise WeightsError("a dtype must be a text")
    if entry["dtype"] not in DTYPES:
        why = f"the dtype {quoted(entry['dtype'])} is not read; save it as F32, F16 or BF16"
        return Placeholder("safetensors", why)
    dtype = DTYPES[entry["dtype"]]
    shape = tuple(non_negative(n, "a size") for n in entry["shape"])
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) * itemsize(dtype) != len(data):
        raise WeightsError(f"the shape {quoted(str(shape))} of {dtype} does not take the {len(data):,} bytes it has")
    return Tensor.contiguous(Storage(dtype, math.prod(shape)).fill(data), shape)


def write_safetensors(file: BinaryIO, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """The header, padded with spaces so that the data start at a multiple of 8, and the arrays in their order."""
    header: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt", **metadata}}
    end = 0
    if "__metadata__" in arrays:
        raise WeightsError("an array cannot be called '__metadata__' in this container")
    for name, array in arrays.items():
        code = NAMES.get(TORCH_NAMES[array.dtype.newbyteorder("=")])
        if code is None:
            raise WeightsError(f"{name!r} is an array of {array.dtype}, which this container does not know")
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        file.write(array.reshape(-1).view(np.uint8).data)
