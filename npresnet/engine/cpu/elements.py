"""A convolution on numbers of 8 or 16 bits bound to sizes: its step.  In memory several channels make an element."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import Array
from ...kernels.cpu.conv.band import band_bytes, pooled_band_bytes, window_numbers
from ...kernels.cpu.conv.cost_model import band_partition, ceil_div, product_partition
from ...kernels.cpu.conv.elements import Kernels
from ..shapes import Image, conv_window, pool_window
from .packing import direct
from .step import Step, stored

POOLED_ROWS = 8  # rows a band of the fused stem pools


def elements(n: int, image: Image) -> tuple[int, int, int, int]:
    """The shape of n images in memory, in elements."""
    return n, image.height, image.width, image.elements


class Convolution(ABC):
    """A convolution or a classifier, and what follows it, by the cheapest of its kernels.

    ``outside`` are the bytes of the pixels outside an image, ``last`` leads to what the results need.
    """

    kernels: Kernels
    last: Array
    outside = 0

    def __init__(
        self, node: Any, x: Image, y: Image, n: int, threads: int, packed: Callable[..., Any], road: str
    ) -> None:
        self.node, self.x, self.y, self.n, self.threads, self.road = node, x, y, n, threads, road
        self.packed, self.window = packed, conv_window(node, x)
        self.groups = getattr(node.module, "groups", 1)

    @abstractmethod
    def weight(self) -> Array:
        """The filters (F, C/G, kh, kw), as numbers of so many bits."""

    @abstractmethod
    def each_filter(self) -> Array:
        """What every filter adds to its sums, as the kernels read it."""

    def step(self) -> Step:
        """The step, by the cheapest kernel."""
        y = self.y
        step = self._pooled() if self.node.pool else self.unpooled()
        size = self.window.output_size((self.x.height, self.x.width)) if self.node.pool else (y.height, y.width)
        step.macs = self.node.weight.size * int(np.prod(size))
        step.algorithm += f" {self.road}"
        return step

    def unpooled(self) -> Step:
        """The step where no max-pool follows."""
        one = self.window.kernel == (1, 1) and self.groups == 1 and not any(sum(self.window.padding, ()))
        return self._product() if one else self._direct()

    def _panels(self):
        """(weights, what every filter adds, groups) of the direct algorithms."""
        w, groups = self.packed(self.node, "direct", lambda: direct(self.weight(), self.groups, self.x.stored))
        return w, self.packed(self.node, f"each {self.road}", self.each_filter), groups

    def _product(self) -> Step:
        x, y, kernel = self.x, self.y, self.kernels.product
        part = product_partition(self.n * y.height * y.width, x.elements, y.stored, self.threads)
        w, each, _ = self._panels()

        def arguments(n, x_at, y_at, residual):
            sizes = elements(n, x), self.window.stride, w, each
            return kernel.flatten(x_at, *sizes, y_at, stored(n, y), residual, self.last, part.block, part.splits)

        def items(n):
            return ceil_div(n * y.height * y.width, part.block) * part.splits

        return Step(self.node, f"product {part.block}", x, y, kernel, arguments, items)

    def _direct(self) -> Step:
        x, y, kernel, window = self.x, self.y, self.kernels.convolution, window_numbers(self.window)
        w, each, groups = self._panels()
        depth = window[0] * window[1] * x.elements // groups
        part = band_partition(self.n, y.height, y.width, depth, y.stored, self.threads)

        def arguments(n, x_at, y_at, residual):
            image = x_at, elements(n, x), _strides(x), window, groups, self.outside, w, each
            return kernel.flatten(*image, y_at, stored(n, y), residual, self.last, part.block, part.splits)

        def items(n):
            return n * ceil_div(y.height, part.block) * part.splits

        size = band_bytes(part.block, y.width, x.elements, window)
        return Step(self.node, f"direct {part.block}", x, y, kernel, arguments, items, work_bytes=size)

    def _pooled(self) -> Step:
        x, y, kernel, window = self.x, self.y, self.kernels.pooled_convolution, window_numbers(self.window)
        middle = self.window.output_size((x.height, x.width))
        pooling, (w, each, _) = window_numbers(pool_window(self.node.pool, *middle)), self._panels()

        def arguments(n, x_at, y_at, residual):
            image = x_at, elements(n, x), _strides(x), window, self.outside, w, each, middle, self.last
            return kernel.flatten(*image, pooling, y_at, stored(n, y), POOLED_ROWS)

        size = pooled_band_bytes(POOLED_ROWS, middle[1], x.elements, y.elements, window, pooling)
        name = f"direct + pool {POOLED_ROWS}"
        return Step(
            self.node, name, x, y, kernel, arguments, lambda n: n * ceil_div(y.height, POOLED_ROWS), work_bytes=size
        )


def _strides(x):
    """Bytes from image to image, element, row and pixel."""
    return x.nbytes, 4, x.width * x.elements * 4, x.elements * 4
