"""Reads an ONNX file: our own by the names of its arrays, any other by its graph."""

from ..errors import WeightsError
from ..stream import Budget
from ..tensors import KEY, Tensor
from .graph import Parser
from .layers import state_of
from .quantized import is_quantized
from .tensor import Beside


def is_onnx(data: memoryview) -> bool:
    """Whether the bytes may be a ModelProto: its first field is the version of the format, a small number."""
    return data[:1] == b"\x08" and len(data) > 2 and 1 <= data[1] <= 64


def read_onnx(
    data: memoryview, budget: Budget, beside: Beside | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(name → Tensor, metadata)"""
    graph = Parser(budget, beside).model(data)
    if is_quantized(graph):
        raise WeightsError("its weights are quantized: npresnet.load_quantized(path) reads them")
    if KEY in graph.texts:
        return graph.arrays, graph.texts
    return state_of(graph, budget), graph.texts
