"""What the messages of an HDF5 object [H] say in detail: shapes, datatypes, and attributes, which are texts here.

[H] HDF5 File Format Specification Version 3.0, the sections named below
"""

import math

from ..errors import WeightsError, shown
from ..stream import Stream
from ..tensors import DTYPES
from .file import NEWER
from .objects import ATTRIBUTE, MANY_ATTRIBUTES

INTEGER, FLOAT, STRING, VARYING = 0, 1, 3, 9                     # classes of datatypes
FLOATS = {  # IEEE 754: bit offset, precision, exponent's place and size, mantissa's place and size, bias
    (0, 16, 10, 5, 0, 10, 15): "float16", (0, 32, 23, 8, 0, 23, 127): "float32",
    (0, 64, 52, 11, 0, 52, 1023): "float64"}


def shape(message):
    """The dataspace, IV.A.2.b; None where it is of no elements at all."""
    version, rank, kind = message.unpack("<2BxB")
    message.read(4 if version == 1 else 0)
    if version not in (1, 2) or rank > 32:
        raise WeightsError(f"a shape {NEWER}")
    return None if (version, kind) == (2, 2) else message.unpack(f"<{rank}Q")


def element(message):
    """The datatype, IV.A.2.d: its class, its size in bytes, and torch's name and the byte order of a number."""
    head, flags, size = message.unpack("<2B2xI")
    kind, name = head & 15, None
    if kind == INTEGER and message.unpack("<2H") == (0, 8 * size):
        name = f"{'int' if flags & 8 else 'uint'}{8 * size}"
    elif kind == FLOAT and not flags & 64:                       # 64: a VAX
        name = FLOATS.get(message.unpack("<2H4BI"))
    elif kind == VARYING and flags & 15 != 1:                    # 1: a string
        kind = None
    return kind, size, name if name in DTYPES else None, ">" if flags & 1 else "<"


def attribute(thing, name):
    """(its datatype, its dataspace, its content), IV.A.2.m, or None where there is none of that name."""
    if thing.has(MANY_ATTRIBUTES):
        raise WeightsError(f"a list of attributes {NEWER}")
    for content in thing.all(ATTRIBUTE):
        stream = Stream(content)
        version, flags, *sizes = stream.unpack("<2B3H")
        if version not in (1, 2, 3) or (flags and version > 1):
            raise WeightsError(f"an attribute {NEWER}")
        stream.read(version == 3)                                # the names' encoding
        parts = []
        for size in sizes:
            parts.append(stream.read(size))
            stream.read(-size % 8 if version == 1 else 0)
        if bytes(parts[0]).rstrip(b"\0") == name.encode():
            return Stream(parts[1]), Stream(parts[2]), stream
    return None


def strings(thing, key):
    """An attribute that lists names, no name twice."""
    names = texts(thing, key)[1]
    if len(set(names)) != len(names):
        raise WeightsError(f"a name is listed twice under {shown(key)}")
    return names


def text(thing, key):
    """An attribute that is one string, or None where there is none of that name."""
    if attribute(thing, key) is None:
        return None
    size, items = texts(thing, key)
    if size != ():
        raise WeightsError(f"the attribute {shown(key)} is no text but a list")
    return items[0]


def texts(thing, key):
    """(shape, strings) of an attribute."""
    datatype, dataspace, content = attribute(thing, key)
    (kind, width, *_), size = element(datatype), shape(dataspace)
    if size is None or (kind not in (STRING, VARYING) and math.prod(size)):
        raise WeightsError(f"the attribute {shown(key)} is no text")
    count = math.prod(size)                                      # Keras lists no names as no numbers
    thing.file.budget.spend(64 * count + 4 * width * count, f"the attribute {shown(key)}")
    if kind == VARYING:
        items = [thing.file.string(*content.unpack("<IQI")) for _ in range(count)]
    else:
        items = [bytes(content.read(width)).rstrip(b"\0") for _ in range(count)]
    return size, [item.decode("utf-8") for item in items]
