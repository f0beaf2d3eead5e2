"""Protocol buffers on the wire [P]: a message is a run of fields, each a number, a wire type and a value.

    wire type   value                                           here
    0           a varint: seven bits a byte, the lowest first   int, 0 … 2⁶⁴ − 1
    1, 5        eight or four bytes                             their bytes
    2           a length and so many bytes: a text, a           their bytes
                message, or numbers one after the other

Groups (wire types 3 and 4), which nobody writes any more, varints past 64 bits and whatever ends too early are refused.

[P] https://protobuf.dev/programming-guides/encoding
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..stream import Budget, Bytes

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
LONGEST = 10  # bytes of a varint of 64 bits
PIECE = 2**16  # bytes of packed varints that are decoded at once

# -- reading ----------------------------------------------------------------------------------------------------------


def fields(data: memoryview, budget: Budget) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a message: an int for a varint, else a view of the bytes."""
    position, end = 0, len(data)
    while position < end:
        budget.step(1, "a message")
        tag, position = varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = varint(data, position)
            yield number, value
            continue
        if kind == LENGTH:
            size, position = varint(data, position)
        elif kind in (EIGHT, FOUR):
            size = 8 if kind == EIGHT else 4
        else:
            raise WeightsError(f"a field of a message has the wire type {kind}; the file is damaged, or no ONNX")
        if size > end - position:
            raise WeightsError(f"truncated: a field of {size:,} bytes in a message with {end - position:,} left")
        yield number, data[position : position + size]
        position += size


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """(value, the position behind it)"""
    value = 0
    for i in range(min(LONGEST, len(data) - position)):
        byte = data[position + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            if value >= 2**64:
                break
            return value, position + i + 1
    raise WeightsError("a number in a message is truncated or longer than 64 bits")


def signed(value: int) -> int:
    """An int64 from its varint."""
    return value - 2**64 if value >= 2**63 else value


def varints(value: int | memoryview, budget: Budget) -> Iterator[int]:
    """The int64 numbers of a repeated field: one varint, or several packed together."""
    if isinstance(value, int):
        yield signed(value)
        return
    position = 0
    while position < len(value):
        budget.step(1, "a list of numbers")
        number, position = varint(value, position)
        yield signed(number)


def packed_array(data: memoryview, budget: Budget) -> np.ndarray:
    """Packed varints as int64, piece by piece, for the many values of a tensor."""
    ends = np.frombuffer(data, np.uint8) < 128
    budget.spend(8 * int(np.count_nonzero(ends)), "a tensor of packed numbers")
    if len(ends) and not ends[-1]:
        raise WeightsError("a number in a tensor is truncated")
    found, start = [np.empty(0, np.int64)], 0
    while start < len(data):
        stops = np.flatnonzero(ends[start : start + PIECE])
        if not len(stops) or max(np.diff(stops, prepend=-1)) > LONGEST:
            raise WeightsError("a number in a tensor is longer than 64 bits")
        length = int(stops[-1]) + 1
        found.append(decoded(np.frombuffer(data[start : start + length], np.uint8), stops))
        start += length
    return np.concatenate(found)


def decoded(codes: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The numbers whose last bytes stand at ``stops``."""
    starts = np.concatenate([[0], stops[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, stops - starts + 1)
    parts = (codes & 127).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(parts, starts).view(np.int64)


# -- writing ----------------------------------------------------------------------------------------------------------


def message(*parts: tuple[int, Any]) -> list[Bytes]:
    """The bytes of a message, in pieces, from (number, value); a value of None is left out.

    An int becomes a varint, a float four bytes, a text or bytes or another message's pieces a field with a length.
    """
    return [piece for number, value in parts if value is not None for piece in field(number, value)]


def field(number: int, value: Any) -> Iterable[Bytes]:
    if isinstance(value, int):
        return [code(number << 3 | VARINT) + code(value % 2**64)]
    if isinstance(value, float):
        return [code(number << 3 | FOUR) + struct.pack("<f", value)]
    pieces = value if isinstance(value, list) else [value.encode("utf-8") if isinstance(value, str) else value]
    return [code(number << 3 | LENGTH) + code(sum(map(len, pieces))), *pieces]


def code(value: int) -> bytes:
    """A varint."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
