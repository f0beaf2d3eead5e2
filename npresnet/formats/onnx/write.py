"""Writes an ONNX file [O]: a graph of operators on named values, the arrays among them, and texts beside it.

[O] https://github.com/onnx/onnx, onnx/onnx.proto, whose field numbers these are
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from ..errors import WeightsError
from ..stream import Bytes
from ..tensors import KEY
from .wire import message

OPSETS = {  # version of the operators → of the file's format that came with it
    **dict.fromkeys((13, 14), 7),
    **dict.fromkeys((15, 16, 17, 18), 8),
    **dict.fromkeys((19, 20), 9),
    **dict.fromkeys((21, 22), 10),
    23: 11,
}
TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}
INT, FLOAT, STRING, TENSOR, FLOATS, INTS = 2, 1, 3, 4, 6, 7  # of AttributeProto.type
MOST = 2**31 - 1  # bytes of a message that protocol buffers read
Sizes = tuple[int | str, ...]  # a text names a size that is free


@dataclass(frozen=True)
class Node:
    """An operator: what it reads, the one value that it makes, and its attributes."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Port:
    """An input or an output of the graph."""

    name: str
    dtype: np.dtype
    sizes: Sizes


def write_onnx(
    file: BinaryIO,
    nodes: Iterable[Node],
    arrays: Mapping[str, np.ndarray],
    inputs: Iterable[Port],
    outputs: Iterable[Port],
    texts: Mapping[str, str],
    *,
    opset: int,
) -> None:
    """The file; ``arrays`` are little-endian and in C order, and are written without a copy."""
    graph = message(
        *((1, node_message(node)) for node in nodes),
        (2, "network"),
        *((5, tensor(name, array)) for name, array in arrays.items()),
        *((11, port(one)) for one in inputs),
        *((12, port(one)) for one in outputs),
    )
    pieces = message(
        (1, OPSETS[opset]),
        (2, KEY),
        (7, graph),
        (8, message((1, ""), (2, opset))),
        *((14, message((1, key), (2, text))) for key, text in texts.items()),
    )
    size = sum(map(len, pieces))
    if size > MOST:
        raise WeightsError(f"its {size:,} bytes are more than the 2 GiB of an ONNX file; write .safetensors")
    for piece in pieces:
        file.write(piece)


def node_message(node: Node) -> list[Bytes]:
    return message(
        *((1, name) for name in node.inputs),
        (2, node.output),
        (3, node.output),
        (4, node.kind),
        *((5, attribute(name, value)) for name, value in node.attributes.items()),
    )


def attribute(name: str, value: Any) -> list[Bytes]:
    """An int, a float, a text, an array, or a tuple of ints or of floats."""
    if isinstance(value, np.ndarray):
        return message((1, name), (5, tensor("", value)), (20, TENSOR))
    if isinstance(value, tuple):
        ints = all(isinstance(item, int) for item in value)
        return message((1, name), *((8 if ints else 7, item) for item in value), (20, INTS if ints else FLOATS))
    number, kind = {int: (3, INT), float: (2, FLOAT), str: (4, STRING)}[type(value)]
    return message((1, name), (number, value), (20, kind))


def tensor(name: str, array: np.ndarray) -> list[Bytes]:
    if array.dtype.name not in TYPES:
        raise WeightsError(f"{name!r} is an array of {array.dtype}, which is not written to ONNX")
    content = array.reshape(-1).view(np.uint8).data
    return message(*((1, size) for size in array.shape), (2, TYPES[array.dtype.name]), (8, name or None), (9, content))


def port(one: Port) -> list[Bytes]:
    sizes = (message((2 if isinstance(size, str) else 1, size)) for size in one.sizes)
    shape = message(*((1, size) for size in sizes))
    return message((1, one.name), (2, message((1, message((1, TYPES[one.dtype.name]), (2, shape))))))
