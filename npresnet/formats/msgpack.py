"""Reads flax's msgpack files [F]: nested maps whose leaves are arrays, each an extension of shape, dtype and bytes.

Large arrays stand in several chunks, which are put together.  Nesting beyond 64 levels and other extensions are
refused.

[F] flax/serialization.py; https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import math
from typing import Any

from .errors import WeightsError, quoted
from .stream import Budget, Stream
from .tensors import DTYPES, Storage, Tensor

MOST_LEVELS = 64
CHUNKED = "__msgpack_chunked_array__"
NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i"}
NUMBERS[0xD3] = ">q"
SIZED = {  # code → how its length is stored, and what it is
    **{0xC4 + i: (size, "bytes") for i, size in enumerate((">B", ">H", ">I"))},
    **{0xC7 + i: (size, "extension") for i, size in enumerate((">B", ">H", ">I"))},
    **{0xD9 + i: (size, "text") for i, size in enumerate((">B", ">H", ">I"))},
    **{0xDC + i: (size, "list") for i, size in enumerate((">H", ">I"))},
    **{0xDE + i: (size, "map") for i, size in enumerate((">H", ">I"))},
}
ARRAY, COMPLEX, SCALAR = 1, 2, 3  # flax's extensions


def is_msgpack(start: bytes) -> bool:
    """Whether a file begins with a map of at least one key, a text."""
    at = {0xDE: 3, 0xDF: 5}.get(start[0], 1) if start else 0
    return bool(start) and (0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF)) and is_text(start[at : at + 1])


def is_text(code: bytes) -> bool:
    return bool(code) and (0xA0 <= code[0] <= 0xBF or code[0] in (0xD9, 0xDA))


def read_msgpack(data: memoryview, budget: Budget) -> Any:
    """The nested dictionaries, arrays as Tensors."""
    stream = Stream(data)
    tree = read_value(stream, budget, MOST_LEVELS)
    if stream.position != len(data):
        raise WeightsError("bytes follow the last value; the file is damaged")
    return tree


def read_value(stream: Stream, budget: Budget, levels: int) -> Any:
    """One value.  Every container pays for its items before it is filled."""
    code = stream.read(1)[0]
    if code < 0x80 or code >= 0xE0:
        return code if code < 0x80 else code - 256
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code]
    if code in NUMBERS:
        return stream.unpack(NUMBERS[code])[0]
    if 0xD4 <= code <= 0xD8:
        return extension(stream, 1 << (code - 0xD4), budget, levels)
    size, kind = sized(stream, code)
    if kind == "text":
        budget.spend(4 * size, "a text")
        return str(stream.read(size), "utf-8")
    if kind == "bytes":
        return stream.read(size)
    if kind == "extension":
        return extension(stream, size, budget, levels)
    if not levels:
        raise WeightsError(f"values are nested in more than {MOST_LEVELS} levels")
    budget.spend(size * (256 if kind == "map" else 64), "the tree")
    if kind == "list":
        return [read_value(stream, budget, levels - 1) for _ in range(size)]
    found = {}
    for _ in range(size):
        key = read_value(stream, budget, levels - 1)
        if type(key) is not str or key in found:
            raise WeightsError(f"a key must be a text of its own, not {quoted(key)}")
        found[key] = read_value(stream, budget, levels - 1)
    return joined(found, budget) if CHUNKED in found else found


def sized(stream: Stream, code: int) -> tuple[int, str]:
    """(length, kind) of a value that has one."""
    if code < 0xC0:
        return (code & 0x1F, "text") if code >= 0xA0 else (code & 0x0F, "list" if code >= 0x90 else "map")
    if code not in SIZED:
        raise WeightsError(f"the code {code:#x} is none of msgpack's")
    layout, kind = SIZED[code]
    return stream.unpack(layout)[0], kind


def extension(stream: Stream, size: int, budget: Budget, levels: int) -> Any:
    """flax's arrays and numbers: (shape, dtype's name, bytes)."""
    kind, content = stream.unpack(">b")[0], Stream(stream.read(size))
    if kind == COMPLEX:
        return None
    budget.spend(1024, "an array")
    if kind not in (ARRAY, SCALAR):
        raise WeightsError(f"the extension {kind} is none of flax's")
    value = read_value(content, budget, min(levels, 2))
    if type(value) is not list or len(value) != 3 or type(value[0]) is not list or type(value[2]) is not memoryview:
        raise WeightsError("an array must be of a shape, a dtype and bytes")
    shape, dtype, data = value
    name = bytes(dtype).decode() if type(dtype) is memoryview else dtype
    if type(name) is not str or name not in DTYPES or any(type(n) is not int or n < 0 for n in shape):
        raise WeightsError(f"the dtype {quoted(name)} is not read; save it as float32")
    return Tensor.contiguous(Storage(name, math.prod(shape)).fill(data), shape)


def joined(found: dict[str, Any], budget: Budget) -> Tensor:
    """One array of the chunks that flax makes of more than a gigabyte."""
    shape, chunks = found.get("shape"), found.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict) or not chunks:
        raise WeightsError("a chunked array must have a shape and chunks")
    parts = list(chunks.values())
    if not all(isinstance(part, Tensor) and part.dtype == parts[0].dtype for part in parts):
        raise WeightsError("the chunks of an array are no arrays of one dtype")
    budget.spend(sum(part.storage.nbytes for part in parts), "a chunked array")
    data = b"".join(part.storage.data or b"" for part in parts)
    sizes = tuple(shape.values())
    return Tensor.contiguous(Storage(parts[0].dtype, math.prod(sizes)).fill(data), sizes)
