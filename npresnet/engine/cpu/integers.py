"""A node on levels of 8 bits bound to sizes: its step.  In memory four channels make an element of 32 bits."""

import numpy as np

from ...kernels.cpu.codegen.dot import ROADS
from ...kernels.cpu.codegen.tile import PANEL
from ...kernels.cpu.codegen.vector import LANES
from ...kernels.cpu.conv.band import top_left, window_numbers
from ...kernels.cpu.conv.cost_model import ceil_div, winograd_partition
from ...kernels.cpu.conv.pack import round_up
from ...kernels.cpu.conv.winograd import winograd_bytes
from ...kernels.cpu.quantized import pool, rounding
from ...kernels.cpu.quantized.convolution import kernels
from ...kernels.cpu.quantized.pack import each_filter
from ...kernels.cpu.quantized.pack import rounding as rounding_numbers
from ...kernels.cpu.quantized.winograd import winograd
from ..graph import stride_of
from ..shapes import pool_window
from .elements import Convolution
from .packing import transformed_words
from .step import Step, stored

TILE = 4  # of Winograd's convolution, and from how many channels and pixels it pays for its transforms
WINOGRAD_CHANNELS, WINOGRAD_PIXELS = 64, 14 * 14
SECOND_CACHE = 5 * 2**18  # bytes of weights that stay in a core's second cache while images go by


def bind(node, images, n, threads, packed, road) -> Step:
    """The step of ``node`` for ``n`` images at a time, by this road; ``packed(node, key, make)`` caches weights."""
    x, y = images[node.inputs[0]], images[node]
    if node.kind == "conv":
        return IntegerConvolution(node, x, y, n, threads, packed, road).step()
    make = {
        "quantize": _quantize,
        "add": _add,
        "relu": _relu,
        "max_pool": _max_pool,
        "mean": _mean,
        "subsample": _subsample,
    }[node.kind]
    return make(node, x, y, packed)


class IntegerConvolution(Convolution):
    """A convolution or a classifier on levels; rounded to levels again, with a residual sum before or without."""

    def __init__(self, node, x, y, n, threads, packed, road):
        super().__init__(node, x, y, n, threads, packed, road)
        self.kernels, self.outside = kernels(road), node.inputs[0].zero_point
        self.last = packed(node, "rounding", lambda: _rounding(node))

    def weight(self):
        return self.node.weight

    def each_filter(self):
        return self._each_filter(ROADS[self.road].shift)

    def _each_filter(self, shift):
        """c = (shift − z) Σ w, and b, m as :class:`npresnet.quantized.steps.Weighted` has them."""
        x, weight = self.node.inputs[0], self.node.weight
        correction = (shift - x.zero_point) * weight.sum((1, 2, 3), dtype=np.int64)
        multiplier, bias = self.node.step.multiplier_and_bias(x.scale)
        missing = round_up(len(weight)) - len(weight)
        return each_filter(*(np.pad(array, (0, missing)) for array in (correction, bias, multiplier)))

    def unpooled(self) -> Step:
        return self._winograd() if self._winograd_pays() else super().unpooled()

    def _winograd_pays(self) -> bool:
        """Whether there is enough to save, and the transformed filters stay in the second cache."""
        x, y = self.x, self.y
        many = min(x.channels, y.channels) >= WINOGRAD_CHANNELS and y.height * y.width >= WINOGRAD_PIXELS
        return many and (TILE + 2) ** 2 * 2 * x.stored * y.stored <= SECOND_CACHE and self._winograd_is_exact()

    def _winograd_is_exact(self) -> bool:
        """Whether F(4x4, 3x3) computes this convolution."""
        square = self.window.kernel == (3, 3) and self.window.stride == self.window.dilation == (1, 1)
        whole = self.x.stored % (2 * LANES) == 0
        return square and whole and self.groups == 1 and self.node.suits_winograd

    def _winograd(self) -> Step:
        x, y, kernel = self.x, self.y, winograd(TILE, self.road)
        tiles, pairs = ceil_div(y.height, TILE) * ceil_div(y.width, TILE), x.stored // 2
        part = winograd_partition(TILE, self.n * tiles, pairs, y.stored, self.threads)
        u = self.packed(self.node, "winograd", lambda: transformed_words(self.node.weight, TILE, x.stored))
        each = self.packed(self.node, "each", lambda: self._each_filter(0))
        size = max(x.stored, PANEL * 4)
        outside = self.packed(self.node, "outside", lambda: np.full(size, self.outside, np.uint8))

        def arguments(n, x_at, y_at, residual):
            image = x_at, (n, x.height, x.width, pairs), top_left(self.window), u, each
            return kernel.flatten(*image, y_at, stored(n, y), residual, self.last, part.block, part.splits, outside)

        def items(n):
            return ceil_div(n * tiles, part.block) * part.splits

        size, name = winograd_bytes(TILE, part.block, pairs), f"winograd F({TILE}x{TILE}) {part.block}"
        return Step(self.node, name, x, y, kernel, arguments, items, work_bytes=size)


def _rounding(node):
    """From the sums to levels; with a residual sum, on to its levels."""
    step, total = node.step, node.sum
    low, high = (level - step.zero_point for level in step.levels)
    numbers = {"low": low, "high": high, "zero": step.zero_point}
    if total:
        other = node.inputs[1]
        low, high = (level - total.zero_point for level in total.levels)
        numbers |= {"scale": step.scale, "other_zero": 2**23 + other.zero_point, "other_scale": other.scale}
        numbers |= {"inverse": 1 / np.float32(total.scale), "sum_low": low, "sum_high": high}
        numbers["sum_zero"] = total.zero_point
    return rounding_numbers(**numbers)


def _quantize(node, x, y, packed) -> Step:
    inverse = packed(node, "inverse", lambda: np.array([1 / np.float32(node.scale)], np.float32))
    kernel = rounding.levels_of_image

    def arguments(n, x_at, y_at, residual):
        return kernel.flatten(x_at, (n, x.channels, x.height, x.width), inverse, node.zero_point, y_at, y.stored)

    return Step(node, "levels", x, y, kernel, arguments, lambda n: n * x.height)


def _add(node, x, y, packed) -> Step:
    a, b = node.inputs

    def numbers():
        low, high = node.step.levels
        inverse = 1 / np.float32(node.scale)
        return np.array([a.zero_point, a.scale, b.zero_point, b.scale, inverse, node.zero_point, low, high], np.float32)

    kept, kernel = packed(node, "rounding", numbers), rounding.add

    def arguments(n, x_at, y_at, residual):
        return kernel.flatten(x_at, residual, n * x.height * x.width, x.stored, kept, y_at)

    return Step(node, node.kind, x, y, kernel, arguments, _pixel_items(x))


def _pixel_items(x):
    return lambda n: ceil_div(n * x.height * x.width, rounding.PIXELS)


def _relu(node, x, y, packed) -> Step:
    def arguments(n, x_at, y_at, residual):
        return rounding.relu.flatten(x_at, n * x.height * x.width, x.stored, node.zero_point, y_at)

    return Step(node, node.kind, x, y, rounding.relu, arguments, _pixel_items(x))


def _max_pool(node, x, y, packed) -> Step:
    window = window_numbers(pool_window(node.module, x.height, x.width))

    def arguments(n, x_at, y_at, residual):
        return pool.max_pool.flatten(x_at, stored(n, x), window, y_at, stored(n, y))

    return Step(node, node.kind, x, y, pool.max_pool, arguments, lambda n: n * y.height)


def _mean(node, x, y, packed) -> Step:
    def arguments(n, x_at, y_at, residual):
        return pool.mean.flatten(x_at, x.height * x.width, x.stored, node.zero_point, y_at)

    return Step(node, node.kind, x, y, pool.mean, arguments, lambda n: n)


def _subsample(node, x, y, packed) -> Step:
    kernel = rounding.subsample

    def arguments(n, x_at, y_at, residual):
        sizes = stored(n, x), x.channels, stride_of(node), node.before, node.zero_point
        return kernel.flatten(x_at, *sizes, y_at, stored(n, y))

    return Step(node, node.kind, x, y, kernel, arguments, lambda n: n * y.height)
