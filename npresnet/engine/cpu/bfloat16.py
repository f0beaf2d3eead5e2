"""The engine in bfloat16: numbers of 16 bits between all layers, sums of float32 within them."""

from typing import Any

import numpy as np

from ...backend import Array
from ...kernels.cpu.bfloat16 import pointwise, pool
from ...kernels.cpu.bfloat16.convolution import kernels
from ...kernels.cpu.codegen.bfloat16 import ROADS
from ...kernels.cpu.codegen.dot import roads
from ...kernels.cpu.conv.band import window_numbers
from ...kernels.cpu.conv.cost_model import ceil_div
from ...kernels.cpu.quantized.rounding import subsample
from ...ops.bfloat16 import bfloat16_bits, from_bfloat16_bits
from ..bfloat16 import KINDS, lower_to_bfloat16
from ..graph import NO_FLOOR, Node, stride_of
from ..shapes import Image, pool_window
from .elements import Convolution
from .engine import CpuEngine
from .packing import padded_bias
from .step import Step, stored


class Bfloat16Engine(CpuEngine):
    """Computes what a model does, in bfloat16.

    ``road`` is what sums products, one of :data:`npresnet.kernels.cpu.codegen.bfloat16.ROADS`; None for the fastest
    that this processor has.
    """

    def __init__(self, model: Any, threads: int | None = None, profile: bool = False, road: str | None = None):
        able = roads(known=ROADS)
        if road is not None and road not in able:
            raise ValueError(f"this processor cannot take the road {road!r}, only {', '.join(able)}")
        self.road = road or able[0]
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
            "affine": _affine,
            "relu": _affine,
            "add": _add,
            "max_pool": _max_pool,
            "mean": _mean,
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

    return Step(node, "bfloat16", x, y, kernel, arguments, (lambda n: n * x.height) if from_image else _items(x))


def _widen(node, x, y) -> Step:
    def arguments(n, x_at, y_at, residual):
        return pointwise.widen_all.flatten(x_at, n * x.height * x.width, x.stored, y_at)

    return Step(node, "float32", x, y, pointwise.widen_all, arguments, _items(x))


def _affine(node, x, y) -> Step:
    scale, shift = np.ones(x.stored, np.float32), np.zeros(x.stored, np.float32)
    if node.weight is not None:
        scale[: x.channels], shift[: x.channels] = node.weight, node.bias
    relu = node.kind == "relu" or node.floor != NO_FLOOR

    def arguments(n, x_at, y_at, residual):
        return pointwise.affine.flatten(x_at, n * x.height * x.width, x.stored, scale, shift, relu, y_at)

    return Step(node, node.kind, x, y, pointwise.affine, arguments, _items(x))


def _add(node, x, y) -> Step:
    relu = node.floor != NO_FLOOR

    def arguments(n, x_at, y_at, residual):
        return pointwise.add.flatten(x_at, residual, n * x.height * x.width, x.stored, relu, y_at)

    return Step(node, node.kind, x, y, pointwise.add, arguments, _items(x))


def _items(x):
    return lambda n: ceil_div(n * x.height * x.width, pointwise.PIXELS)


def _max_pool(node, x, y) -> Step:
    window = window_numbers(pool_window(node.module, x.height, x.width))

    def arguments(n, x_at, y_at, residual):
        return pool.max_pool.flatten(x_at, stored(n, x), window, y_at, stored(n, y))

    return Step(node, node.kind, x, y, pool.max_pool, arguments, lambda n: n * y.height)


def _mean(node, x, y) -> Step:
    def arguments(n, x_at, y_at, residual):
        return pool.mean.flatten(x_at, x.height * x.width, x.stored, y_at)

    return Step(node, node.kind, x, y, pool.mean, arguments, lambda n: n)


def _subsample(node, x, y) -> Step:
    """Numbers are moved, not computed with: a bfloat16 is two bytes."""

    def in_bytes(n, image):
        return n, image.height, image.width, 2 * image.stored

    def arguments(n, x_at, y_at, residual):
        sizes = in_bytes(n, x), 2 * x.channels, stride_of(node), 2 * node.before, 0
        return subsample.flatten(x_at, *sizes, y_at, in_bytes(n, y))

    return Step(node, node.kind, x, y, subsample, arguments, lambda n: n * y.height)
