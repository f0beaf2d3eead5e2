"""The algorithm of a convolution, and the kernel's arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.cpu.codegen.vector import LANES
from ...kernels.cpu.conv import band
from ...kernels.cpu.conv.band import top_left, window_numbers
from ...kernels.cpu.conv.cost_model import CHOOSING, band_partition, ceil_div, product_partition, winograd_partition
from ...kernels.cpu.conv.forward import GROUPED, GROUPED_ROWS
from ...kernels.cpu.conv.pack import merged_groups
from ...kernels.cpu.conv.product import product
from ...kernels.cpu.conv.winograd import winograd2, winograd4, winograd_bytes
from ..graph import Node
from ..shapes import Image, conv_window, pool_window
from .packing import direct, in_lanes, padded_bias, transformed
from .step import Step, stored

TILES = (4, 2)  # Winograd's, to choose from
POOLED_ROWS = 4  # rows a band of the fused stem pools


def convolution(
    node: Node, x: Image, y: Image, n: int, threads: int, packed: Callable[..., Any], zeros: np.ndarray
) -> Step:
    """The step of a convolution for ``n`` images at a time, by the cheapest algorithm that computes it."""
    window = conv_window(node, x)
    channels_first = node.inputs[0].kind == "input"  # as the net's input is; no channels added
    channels = x.channels if channels_first else x.stored
    groups = getattr(node.module, "groups", 1)
    bias = packed(node, "bias", lambda: padded_bias(node.bias))
    if node.pool:
        step = _pooled(node, x, y, window, channels, packed, bias)
    elif window.kernel == (1, 1) and groups == 1 and not channels_first and not any(sum(window.padding, ())):
        step = _rows(node, x, y, window, n, threads, packed, bias)
    elif _fills_vectors(node, groups, window, channels_first):
        step = _grouped(node, x, y, window, packed, bias, zeros)
    else:
        step = _cheapest(node, x, y, window, channels, groups, channels_first, n, threads, packed, bias, zeros)
    step.macs = (
        node.weight[0].size * y.height * y.width * len(node.weight)
        if not node.pool
        else node.weight.size * int(np.prod(window.output_size((x.height, x.width))))
    )
    return step


def _rows(node, x, y, window, n, threads, packed, bias) -> Step:
    w, _ = packed(node, "direct", lambda: direct(node.weight, 1, x.stored))
    partition = product_partition(n * y.height * y.width, x.stored, y.stored, threads)

    def arguments(n, x_at, y_at, residual):
        return product.flatten(
            x_at,
            stored(n, x),
            window.stride,
            w,
            bias,
            y_at,
            stored(n, y),
            residual,
            node.floor == 0,
            partition.block,
            partition.splits,
            1,
        )

    return Step(
        node,
        _named("product", partition),
        x,
        y,
        product,
        arguments,
        lambda n: ceil_div(n * y.height * y.width, partition.block) * partition.splits,
    )


def _cheapest(node, x, y, window, channels, groups, channels_first, n, threads, packed, bias, zeros) -> Step:
    """The cheaper of direct convolution and Winograd's, by :mod:`npresnet.kernels.cpu.conv.cost_model`."""
    kh, kw = window.kernel
    depth = kh * kw * channels // merged_groups(node.weight.shape, groups)
    square = window.kernel == (3, 3) and window.stride == window.dilation == (1, 1)
    algorithms = (0, *TILES) if square and groups == 1 and not channels_first else (0,)

    def partition(m, threads):
        if m == 0:
            return band_partition(n, y.height, y.width, depth, y.stored, threads)
        tiles = n * ceil_div(y.height, m) * ceil_div(y.width, m)
        return winograd_partition(m, tiles, x.stored, y.stored, threads)

    m = min(algorithms, key=lambda m: partition(m, CHOOSING).cost)
    if m:
        return _winograd(node, x, y, window, m, partition(m, threads), packed, bias, zeros)
    return _direct(node, x, y, window, channels, groups, channels_first, partition(m, threads), packed, bias)


def _direct(node, x, y, window, channels, groups, channels_first, partition, packed, bias) -> Step:
    w, merged = packed(node, "direct", lambda: direct(node.weight, groups, channels))
    strides = _strides(x, channels, channels_first)
    size = band.band_bytes(partition.block, y.width, channels, window_numbers(window))

    def arguments(n, x_at, y_at, residual):
        return band.convolution.flatten(
            x_at,
            (n, x.height, x.width, channels),
            strides,
            window_numbers(window),
            merged,
            w,
            bias,
            y_at,
            stored(n, y),
            residual,
            node.floor == 0,
            partition.block,
            partition.splits,
        )

    return Step(
        node,
        _named("direct", partition),
        x,
        y,
        band.convolution,
        arguments,
        lambda n: n * ceil_div(y.height, partition.block) * partition.splits,
        work_bytes=size,
    )


def _fills_vectors(node, groups, window, channels_first) -> bool:
    """Whether several whole groups of a 3x3 convolution, as many filters as channels each, fill a vector."""
    f, size = node.weight.shape[:2]
    square = window.kernel == (3, 3) and window.stride in ((1, 1), (2, 2)) and window.dilation == (1, 1)
    return (
        groups > 1
        and f == size * groups
        and size in GROUPED
        and LANES % size == f % LANES == 0
        and square
        and len(node.inputs) == 1
        and not channels_first
    )


def _grouped(node, x, y, window, packed, bias, zeros) -> Step:
    w, size = packed(node, "grouped", lambda: in_lanes(node.weight)), node.weight.shape[1]

    def arguments(n, x_at, y_at, residual):
        return GROUPED[size].flatten(
            x_at,
            stored(n, x),
            window.stride[0],
            top_left(window),
            w,
            bias,
            y_at,
            stored(n, y),
            node.floor == 0,
            GROUPED_ROWS,
            zeros,
        )

    return Step(
        node,
        f"grouped {GROUPED_ROWS}",
        x,
        y,
        GROUPED[size],
        arguments,
        lambda n: n * ceil_div(y.height, GROUPED_ROWS),
        work_bytes=4 * y.stored,
    )


def _pooled(node, x, y, window, channels, packed, bias) -> Step:
    channels_first = channels != x.stored or node.inputs[0].kind == "input"
    w, _ = packed(node, "direct", lambda: direct(node.weight, 1, channels))
    middle = window.output_size((x.height, x.width))
    pool = window_numbers(pool_window(node.pool, *middle))
    strides = _strides(x, channels, channels_first)
    size = band.pooled_band_bytes(POOLED_ROWS, middle[1], channels, y.stored, window_numbers(window), pool)

    def arguments(n, x_at, y_at, residual):
        return band.pooled_convolution.flatten(
            x_at,
            (n, x.height, x.width, channels),
            strides,
            window_numbers(window),
            w,
            bias,
            middle,
            node.floor == 0,
            pool,
            y_at,
            stored(n, y),
            POOLED_ROWS,
        )

    return Step(
        node,
        f"direct + pool {POOLED_ROWS}",
        x,
        y,
        band.pooled_convolution,
        arguments,
        lambda n: n * ceil_div(y.height, POOLED_ROWS),
        work_bytes=size,
    )


def _winograd(node, x, y, window, m, partition, packed, bias, zeros) -> Step:
    u = packed(node, f"winograd {m}", lambda: transformed(node.weight, m, x.stored))
    padding, tiles = top_left(window), ceil_div(y.height, m) * ceil_div(y.width, m)
    kernel = winograd2 if m == 2 else winograd4

    def arguments(n, x_at, y_at, residual):
        return kernel.flatten(
            x_at,
            stored(n, x),
            padding,
            u,
            bias,
            y_at,
            stored(n, y),
            residual,
            node.floor == 0,
            partition.block,
            partition.splits,
            1,
            zeros,
        )

    return Step(
        node,
        _named(f"winograd F({m}x{m})", partition),
        x,
        y,
        kernel,
        arguments,
        lambda n: ceil_div(n * tiles, partition.block) * partition.splits,
        work_bytes=winograd_bytes(m, partition.block, x.stored),
    )


def _named(algorithm, partition) -> str:
    return f"{algorithm} {partition.block}" + f"/{partition.splits}" * (partition.splits > 1)


def _strides(image, channels, channels_first) -> tuple:
    """Byte strides (image, channel, row, column)."""
    h, w = image.height, image.width
    if channels_first:
        return channels * h * w * 4, h * w * 4, w * 4, 4
    return channels * h * w * 4, 4, channels * w * 4, channels * 4
