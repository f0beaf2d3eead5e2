"""The engine for a quantized network: levels of 8 bits between all layers, sums of 32 bits within them."""

from typing import Any

from ...backend import Array
from ...kernels.cpu.codegen.dot import chosen_road
from ...ops import dequantize
from ...quantized import QuantizedNetwork
from ..graph import Node
from ..quantized import lower
from ..shapes import Image
from . import bind, integers
from .engine import CpuEngine
from .step import Step


class QuantizedEngine(CpuEngine):
    """Computes what a :class:`~npresnet.quantized.QuantizedNetwork` does, bit for bit.

    ``road`` is the instruction that sums products, one of :data:`npresnet.kernels.cpu.codegen.dot.ROADS`; None for the
    fastest that this processor has.  All give the same bits.
    """

    def __init__(
        self, network: QuantizedNetwork, threads: int | None = None, profile: bool = False, road: str | None = None
    ):
        self.road = chosen_road(road)
        super().__init__(network, threads, profile)
        self.runs_on += f", int8 by {self.road}"

    def lowered(self, model: Any) -> list[Node]:
        return lower(model)

    def bind(self, node: Node, images: dict[Node, Image], n: int) -> Step:
        if node.kind == "call":
            return bind.call(node, images[node.inputs[0]], images[node])
        return integers.bind(node, images, n, self.threads, self._packed_weights, self.road)

    def run(self, x: Array, nodes: list[Node]) -> Array:
        last: Any = nodes[-1]
        return dequantize(super().run(x, nodes), last.scale, last.zero_point)
