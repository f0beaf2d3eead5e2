"""The engine in bfloat16: numbers of 16 bits between all layers, sums of float32 within them."""

from functools import partial
from typing import Any

import numpy as np

from ...backend import Array
from ...kernels.cpu.bfloat16 import pointwise, pool
from ...kernels.cpu.bfloat16.convolution import kernels
from ...kernels.cpu.codegen.bfloat16 import ROADS
from ...kernels.cpu.codegen.dot import chosen_road
from ...kernels.cpu.quantized.rounding import subsample
from ...ops.bfloat16 import bfloat16_bits, from_bfloat16_bits
from ..bfloat16 import KINDS, lower_to_bfloat16
from ..graph import Node, stride_of
from ..shapes import Image
from . import bind
from .elements import Convolution
from .engine import CpuEngine
from .packing import padded_bias
from .step import Step


class Bfloat16Engine(CpuEngine):
    """Computes what a model does, in bfloat16.

    ``road`` is what sums products, one of :data:`npresnet.kernels.cpu.codegen.bfloat16.ROADS`; None for the fastest
    that this processor has.
    """

    def __init__(self, model: Any, threads: int | None = None, profile: bool = False, road: str | None = None):
        self.road = chosen_road(road, ROADS)
        super().__init__(model, threads, profile)
        self.runs_on += f", bfloat16 by {self.road}"

    def lowered(self, model: Any) -> list[Node]:
        return lower_to_bfloat16(model)

    def bind(self, node: Node, images: dict[Node, Image], n: int) -> Step:
        x, y = images[node.inputs[0]], images[node]
        if node.kind == "conv":
            return Bfloat16Convolution(node, x, y, n, self.threads, self._packed_weights, self.road).step()
        if node.kind not in (*KINDS, "narrow", "widen"):
            return super().bind(node, images, n)
        make = {
            "narrow": _narrow,
            "widen": _widen,
            "affine": partial(bind.affine, kernel=pointwise.affine),
            "relu": partial(bind.affine, kernel=pointwise.affine),
            "add": partial(bind.add, kernel=pointwise.add),
            "max_pool": partial(bind.pooled, kernel=pool.max_pool),
            "mean": partial(bind.mean, kernel=pool.mean),
            "subsample": _subsample,
        }[node.kind]
        return make(node, x, y)

    def run(self, x: Array, nodes: list[Node]) -> Array:
        y = super().run(x, nodes)
        return from_bfloat16_bits(y) if y.dtype == np.uint16 else y


class Bfloat16Convolution(Convolution):
    """A convolution or a classifier, + shortcut, ReLU; rounded once."""

    def __init__(self, node, x, y, n, threads, packed, road):
        super().__init__(node, x, y, n, threads, packed, road)
        self.kernels = kernels(road, wide=y.bits == 32)
        self.last = packed(node, "floor", lambda: np.array([node.floor], np.float32))

    def weight(self):
        return bfloat16_bits(self.node.weight)

    def each_filter(self):
        return padded_bias(self.node.bias)


def _narrow(node, x, y) -> Step:
    from_image = node.inputs[0].kind == "input"
    kernel = pointwise.narrow_image if from_image else pointwise.narrow_all

    def arguments(n, x_at, y_at, residual):
        if from_image:
            return kernel.flatten(x_at, (n, x.channels, x.height, x.width), y_at, y.stored)
        return kernel.flatten(x_at, n * x.height * x.width, x.stored, y_at)

    return Step(
        node, "bfloat16", x, y, kernel, arguments, (lambda n: n * x.height) if from_image else bind.pixel_items(x)
    )


def _widen(node, x, y) -> Step:
    def arguments(n, x_at, y_at, residual):
        return pointwise.widen_all.flatten(x_at, n * x.height * x.width, x.stored, y_at)

    return Step(node, "float32", x, y, pointwise.widen_all, arguments, bind.pixel_items(x))


def _subsample(node, x, y) -> Step:
    """Numbers are moved, not computed with: a bfloat16 is two bytes."""

    def in_bytes(n, image):
        return n, image.height, image.width, 2 * image.stored

    def arguments(n, x_at, y_at, residual):
        sizes = in_bytes(n, x), 2 * x.channels, stride_of(node), 2 * node.before, 0
        return subsample.flatten(x_at, *sizes, y_at, in_bytes(n, y))

    return Step(node, node.kind, x, y, subsample, arguments, lambda n: n * y.height)
