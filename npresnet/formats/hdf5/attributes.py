"""Reads the messages of an HDF5 object [H] that hold shapes, datatypes and attributes; attributes are texts here.

Datatypes other than integers, IEEE floats and strings, attributes that are no texts, versions that Keras does not write
and attributes kept outside the object are refused.

[H] HDF5 File Format Specification Version 3.0, the sections named below
"""

import math

from ..errors import WeightsError, quoted
from ..stream import Stream
from ..tensors import DTYPES, MAX_DIMENSIONS
from .file import NEWER
from .objects import ATTRIBUTE, MANY_ATTRIBUTES, Object

INTEGER, FLOAT, STRING, VARYING = 0, 1, 3, 9  # classes of datatypes
FLOATS = {  # IEEE 754: bit offset, precision, exponent's place and size, mantissa's place and size, bias
    (0, 16, 10, 5, 0, 10, 15): "float16",
    (0, 32, 23, 8, 0, 23, 127): "float32",
    (0, 64, 52, 11, 0, 52, 1023): "float64",
}


def shape(message: Stream) -> tuple[int, ...] | None:
    """The dataspace, IV.A.2.b; None where it is of no elements at all."""
    version, rank, kind = message.unpack("<2BxB")
    message.read(4 if version == 1 else 0)
    if version not in (1, 2) or rank > MAX_DIMENSIONS:
        raise WeightsError(f"a shape {NEWER}")
    return None if (version, kind) == (2, 2) else message.unpack(f"<{rank}Q")


def element(message: Stream) -> tuple[int | None, int, str | None, str]:
    """The datatype, IV.A.2.d: its class, its size in bytes, and torch's name and the byte order of a number."""
    head, flags, size = message.unpack("<2B2xI")
    kind, name = head & 15, None
    if kind == INTEGER and message.unpack("<2H") == (0, 8 * size):
        name = f"{'int' if flags & 8 else 'uint'}{8 * size}"
    elif kind == FLOAT and not flags & 64:  # 64: a VAX
        name = FLOATS.get(message.unpack("<2H4BI"))
    elif kind == VARYING and flags & 15 != 1:  # 1: a string
        kind = None
    return kind, size, name if name in DTYPES else None, ">" if flags & 1 else "<"


def attribute(thing: Object, name: str) -> tuple[Stream, Stream, Stream] | None:
    """(its datatype, its dataspace, its content), IV.A.2.m, or None where there is none of that name."""
    if thing.has(MANY_ATTRIBUTES):
        raise WeightsError(f"a list of attributes {NEWER}")
    for content in thing.all(ATTRIBUTE):
        stream = Stream(content)
        version, flags, *sizes = stream.unpack("<2B3H")
        if version not in (1, 2, 3) or (flags and version > 1):
            raise WeightsError(f"an attribute {NEWER}")
        stream.read(version == 3)  # the names' encoding
        parts = []
        for size in sizes:
            parts.append(stream.read(size))
            stream.read(-size % 8 if version == 1 else 0)
        if bytes(parts[0]).rstrip(b"\0") == name.encode():
            return Stream(parts[1]), Stream(parts[2]), stream
    return None


def strings(thing: Object, key: str) -> list[str]:
    """An attribute that lists names, no name twice."""
    names = texts(thing, key)[1]
    if len(set(names)) != len(names):
        raise WeightsError(f"a name is listed twice under {quoted(key)}")
    return names


def text(thing: Object, key: str) -> str | None:
    """An attribute that is one string, or None where there is none of that name."""
    size, items = texts(thing, key)
    if size is None:
        return None
    if size != ():
        raise WeightsError(f"the attribute {quoted(key)} is no text but a list")
    return items[0]


def texts(thing: Object, key: str) -> tuple[tuple[int, ...] | None, list[str]]:
    """(shape, strings) of an attribute; (None, []) where there is none of that name."""
    found = attribute(thing, key)
    if found is None:
        return None, []
    datatype, dataspace, content = found
    (kind, width, *_), size = element(datatype), shape(dataspace)
    if size is None or (kind not in (STRING, VARYING) and math.prod(size)):
        raise WeightsError(f"the attribute {quoted(key)} is no text")
    count = math.prod(size)  # Keras lists no names as no numbers
    thing.file.budget.spend(64 * count + 4 * width * count, f"the attribute {quoted(key)}")
    if kind == VARYING:
        items = [thing.file.string(*content.unpack("<IQI")) for _ in range(count)]
    else:
        items = [bytes(content.read(width)).rstrip(b"\0") for _ in range(count)]
    return size, [item.decode("utf-8") for item in items]
