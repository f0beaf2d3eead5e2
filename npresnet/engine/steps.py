"""A node bound to sizes: the algorithm it uses, and the call that runs it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..kernels.cpu.band import band_bytes, convolve, convolve_and_pool, pooled_band_bytes
from ..kernels.cpu.choose import band_cut, rows_cut, winograd_cut
from ..kernels.cpu.pointwise import add, affine, subsample
from ..kernels.cpu.pool import global_mean, max_pool
from ..kernels.cpu.product import product
from ..kernels.cpu.winograd import winograd, winograd_bytes
from .graph import Node, stride_of
from .shape import Image, conv_window, numbers, pool_window
from .weights import direct, merged_groups, padded_bias, transformed

TILES = (4, 2)                 # Winograd tiles that may be chosen
POOLED_ROWS = 4                # rows a band of the fused stem pools


@dataclass
class Step:
    """One launch.  ``run(n, x, y, residual, work)`` takes addresses; ``work_bytes`` is wanted for each thread."""

    node: Node
    algorithm: str
    x: Image
    y: Image
    run: Callable
    work_bytes: int = 0
    macs: int = 0


def bind(node, images, n, threads, packed, zeros) -> Step:
    """The step of ``node`` for ``n`` images at a time; ``packed(node, key, make)`` keeps packed weights."""
    x, y = images[node.inputs[0]], images[node]
    if node.kind == "conv":
        return _convolution(node, x, y, n, threads, packed, zeros)
    make = {"affine": _affine, "relu": _affine, "add": _add, "max_pool": _max_pool, "mean": _mean,
            "subsample": _subsample, "call": _call}[node.kind]
    return Step(node, node.kind, x, y, make(node, x, y))


# -- convolutions --------------------------------------------------------------------------------------------

def _convolution(node, x, y, n, threads, packed, zeros) -> Step:
    window = conv_window(node, x)
    raw = node.inputs[0].kind == "input"                      # the net's input is channels first, unpadded
    channels = x.channels if raw else x.stored
    groups = getattr(node.module, "groups", 1)
    bias = packed(node, "bias", lambda: padded_bias(node.bias))
    if node.pool:
        step = _pooled(node, x, y, window, channels, packed, bias)
    elif window.kernel == (1, 1) and groups == 1 and not raw and not any(sum(window.padding, ())):
        step = _rows(node, x, y, window, n, threads, packed, bias)
    else:
        step = _best(node, x, y, window, channels, groups, raw, n, threads, packed, bias, zeros)
    step.macs = node.weight[0].size * y.height * y.width * len(node.weight) if not node.pool else \
        node.weight.size * int(np.prod(window.output_size((x.height, x.width))))
    return step


def _rows(node, x, y, window, n, threads, packed, bias) -> Step:
    w, _ = packed(node, "direct", lambda: direct(node.weight, 1, x.stored))
    plan = rows_cut(n * y.height * y.width, x.stored, y.stored, threads)

    def run(n, x_at, y_at, residual, work):
        product(x_at, (n, x.height, x.width, x.stored), window.stride, w.ctypes.data, bias.ctypes.data, y_at,
                (n, y.height, y.width, y.stored), residual, node.floor, plan.block, plan.splits)

    return Step(node, f"product {plan.block}" + f"/{plan.splits}" * (plan.splits > 1), x, y, run)


def _best(node, x, y, window, channels, groups, raw, n, threads, packed, bias, zeros) -> Step:
    """The cheapest of direct convolution and Winograd's, by the model in :mod:`.choose`."""
    kh, kw = window.kernel
    depth = kh * kw * channels // merged_groups(node.weight, groups)
    direct_plan = band_cut(n, y.height, y.width, depth, y.stored, threads)
    plans = {0: direct_plan}
    if window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and groups == 1 and not raw:
        for m in TILES:
            tiles = n * -(-y.height // m) * -(-y.width // m)
            plans[m] = winograd_cut(m, tiles, x.stored, y.stored, threads)
    m = min(plans, key=lambda m: plans[m].cost)
    if m:
        return _winograd(node, x, y, window, m, plans[m], packed, bias, zeros)
    return _direct(node, x, y, window, channels, groups, raw, direct_plan, packed, bias)


def _direct(node, x, y, window, channels, groups, raw, plan, packed, bias) -> Step:
    w, merged = packed(node, "direct", lambda: direct(node.weight, groups, channels))
    strides, size = _strides(x, channels, raw), band_bytes(plan.block, y.width, channels, numbers(window))

    def run(n, x_at, y_at, residual, work):
        convolve(x_at, (n, x.height, x.width, channels), strides, numbers(window), merged, w.ctypes.data,
                 bias.ctypes.data, y_at, (n, y.height, y.width, y.stored), residual, node.floor, plan.block,
                 plan.splits, work, size)

    return Step(node, f"direct {plan.block}" + f"/{plan.splits}" * (plan.splits > 1), x, y, run, size)


def _pooled(node, x, y, window, channels, packed, bias) -> Step:
    raw = channels != x.stored or node.inputs[0].kind == "input"
    w, _ = packed(node, "direct", lambda: direct(node.weight, 1, channels))
    middle = window.output_size((x.height, x.width))
    pool = numbers(pool_window(node.pool, *middle))
    strides = _strides(x, channels, raw)
    size = pooled_band_bytes(POOLED_ROWS, middle[1], channels, y.stored, numbers(window), pool)

    def run(n, x_at, y_at, residual, work):
        convolve_and_pool(x_at, (n, x.height, x.width, channels), strides, numbers(window), w.ctypes.data,
                          bias.ctypes.data, middle, node.floor, pool, y_at, (n, y.height, y.width, y.stored),
                          POOLED_ROWS, work, size)

    return Step(node, f"direct + pool {POOLED_ROWS}", x, y, run, size)


def _winograd(node, x, y, window, m, plan, packed, bias, zeros) -> Step:
    u = packed(node, f"winograd {m}", lambda: transformed(node.weight, m, x.stored))
    size, padding = winograd_bytes(m, plan.block, x.stored), numbers(window)[6:]

    def run(n, x_at, y_at, residual, work):
        winograd(m, x_at, (n, x.height, x.width, x.stored), padding, u.ctypes.data, bias.ctypes.data, y_at,
                 (n, y.height, y.width, y.stored), residual, node.floor, plan.block, plan.splits, work, size,
                 zeros.ctypes.data)

    name = f"winograd F({m}x{m}) {plan.block}" + f"/{plan.splits}" * (plan.splits > 1)
    return Step(node, name, x, y, run, size)


def _strides(image, channels, raw) -> tuple:
    """Byte strides (image, channel, row, column)."""
    h, w = image.height, image.width
    if raw:
        return channels * h * w * 4, h * w * 4, w * 4, 4
    return channels * h * w * 4, 4, channels * w * 4, channels * 4


# -- the other steps -----------------------------------------------------------------------------------------

def _affine(node, x, y):
    scale, shift = np.ones(x.stored, np.float32), np.zeros(x.stored, np.float32)
    if node.weight is not None:
        scale[:x.channels], shift[:x.channels] = node.weight, node.bias
    floor = node.floor if node.kind == "affine" else 0.0

    def run(n, x_at, y_at, residual, work):
        affine(x_at, n * x.height * x.width, x.stored, scale.ctypes.data, shift.ctypes.data, floor, y_at)

    return run


def _add(node, x, y):
    def run(n, x_at, y_at, residual, work):
        add(x_at, residual, n * x.height * x.width, x.stored, node.floor, y_at)

    return run


def _max_pool(node, x, y):
    window = numbers(pool_window(node.module, x.height, x.width))

    def run(n, x_at, y_at, residual, work):
        max_pool(x_at, (n, x.height, x.width, x.stored), window, y_at, (n, y.height, y.width, y.stored))

    return run


def _mean(node, x, y):
    def run(n, x_at, y_at, residual, work):
        global_mean(x_at, (n, x.height, x.width, x.stored), y_at)

    return run


def _subsample(node, x, y):
    def run(n, x_at, y_at, residual, work):
        subsample(x_at, (n, x.height, x.width, x.stored), x.channels, stride_of(node), node.before, y_at,
                  (n, y.height, y.width, y.stored))

    return run


def _call(node, x, y):
    """Whatever has no kernel: the module itself, between two changes of layout."""
    raw = node.inputs[0].kind == "input"

    def run(n, x_at, y_at, residual, work):
        result = node.module(read(x_at, n, x, raw))
        write(result, y_at, y)

    return run


def read(where, n, image, raw=False) -> np.ndarray:
    """The images at an address as a fresh (N, C, H, W) or (N, C) array."""
    shape = (n, image.channels, image.height, image.width) if raw else (n, image.height, image.width, image.stored)
    stored = _view(where, shape)
    if raw:
        return stored.copy()
    if image.flat:
        return stored[:, 0, 0, :image.channels].copy()
    return np.ascontiguousarray(stored[..., :image.channels].transpose(0, 3, 1, 2))


def write(array, where, image):
    """Store (N, C, H, W) or (N, C) channels last, the channels beyond C zero."""
    stored = _view(where, (len(array), image.height, image.width, image.stored))
    stored[...] = 0
    stored[..., :image.channels] = array.reshape(len(array), image.channels, image.height, image.width).transpose(
        0, 2, 3, 1)


def _view(where, shape) -> np.ndarray:
    import ctypes
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(where)).reshape(shape)
