"""Computes what exporters leave uncomputed in a graph: short lists of integers, such as the pads of a Pad.

Only a few operators on constants of at most 64 integers; anything else is no constant.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..stream import Budget
from ..tensors import Storage, Tensor
from .graph import Node

FEW = 64  # integers
INTEGERS = ("int64", "int32")


def concat(node: Node, *values: np.ndarray) -> np.ndarray:
    return np.concatenate(values)


def fill(node: Node, shape: np.ndarray) -> np.ndarray:
    """ConstantOfShape, of zeros."""
    count, value = int(np.prod(shape)), node.attributes.get("value")
    if shape.size > 1 or not 0 <= count <= FEW or (value is not None and not is_zero(value)):
        raise ValueError("not a short row of zeros")
    return np.zeros(count, np.int64)


def is_zero(value: Any) -> bool:
    return isinstance(value, Tensor) and value.size in ((), (1,)) and not value.array(Budget(0, 64)).any()


def reshape(node: Node, data: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return data.reshape([int(n) for n in shape])


def cut(node: Node, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, axes=None, steps=None) -> np.ndarray:
    """Slice along single axes."""
    limit = 2 * FEW
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        step = 1 if steps is None else int(steps[i])
        start, end = (int(np.clip(v[i], -limit, limit)) for v in (starts, ends))
        place: list[Any] = [slice(None)] * data.ndim
        place[int(axis)] = slice(start, None if step < 0 and end < -data.shape[int(axis)] else end, step)
        data = data[tuple(place)]
    return data


def turn(node: Node, data: np.ndarray) -> np.ndarray:
    return data.transpose(node.attributes.get("perm"))


OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "Concat": concat,
    "ConstantOfShape": fill,
    "Reshape": reshape,
    "Slice": cut,
    "Transpose": turn,
    "Cast": lambda node, data, *rest: data,
    "Identity": lambda node, data: data,
}


def evaluated(node: Node, inputs: list[Tensor | None], budget: Budget) -> Tensor | None:
    """What an operator makes of few integers, or None where it is none of these."""
    if node.kind not in OPERATORS or not inputs or any(tensor is None for tensor in inputs):
        return None
    if any(tensor.dtype not in INTEGERS or few(tensor) is False for tensor in inputs if tensor):
        return None
    try:
        values = [tensor.array(budget).astype(np.int64) for tensor in inputs if tensor]
        found = np.ascontiguousarray(OPERATORS[node.kind](node, *values))
    except (ValueError, IndexError, TypeError):  # WeightsErrors are ValueErrors
        return None
    return Tensor.contiguous(Storage("int64", found.size).fill(found.astype("<i8").tobytes()), found.shape)


def few(tensor: Tensor) -> bool:
    return len(tensor.size) <= 2 and int(np.prod([float(n) for n in tensor.size])) <= FEW
