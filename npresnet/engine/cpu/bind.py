"""A node bound to sizes: its step."""

from collections.abc import Callable

import numpy as np

from ...kernels.cpu import activation, pointwise, smooth
from ...kernels.cpu.conv.band import window_numbers
from ...kernels.cpu.conv.cost_model import ceil_div
from ...kernels.cpu.group_norm import WORK, block_of, normalize
from ...kernels.cpu.pool import global_mean, max_pool
from ..graph import ACTIVATIONS, stride_of
from ..shapes import pool_window
from .convolutions import convolution
from .step import Step, read, stored, write

ACTIVATION = {"leaky_relu": activation.leak, "gelu": smooth.gelu_forward, "silu": smooth.silu_forward}


def bind(node, images, n, threads, packed, zeros) -> Step:
    """The step of ``node`` for ``n`` images at a time; ``packed(node, key, make)`` caches packed weights."""
    x, y = images[node.inputs[0]], images[node]
    if node.kind == "conv":
        return convolution(node, x, y, n, threads, packed, zeros)
    if node.kind == "group_norm":
        return _group_norm(node, x, y, n, threads)
    make = {
        **dict.fromkeys(ACTIVATIONS.values(), _activation),
        "affine": _affine,
        "relu": _affine,
        "add": _add,
        "max_pool": _max_pool,
        "mean": _mean,
        "subsample": _subsample,
        "call": call,
    }[node.kind]
    return make(node, x, y)


def _affine(node, x, y) -> Step:
    scale, shift = np.ones(x.stored, np.float32), np.zeros(x.stored, np.float32)
    if node.weight is not None:
        scale[: x.channels], shift[: x.channels] = node.weight, node.bias
    relu = node.kind == "relu" or node.floor == 0

    def arguments(n, x_at, y_at, residual):
        return pointwise.affine.flatten(x_at, n * x.height * x.width, x.stored, scale, shift, relu, y_at)

    return Step(node, node.kind, x, y, pointwise.affine, arguments, _pixel_items(x))


def _group_norm(node, x, y, n, threads) -> Step:
    """Work items are blocks of channels of an image: several for each thread, unless the blocks are too narrow."""
    size, (gamma, beta) = x.channels // node.module.groups, np.zeros((2, x.stored), np.float32)
    gamma[: x.channels], beta[: x.channels] = node.weight, node.bias
    block, eps = block_of(x.stored, size, n, 4 * threads), np.array([node.module.eps])

    def arguments(n, x_at, y_at, residual):
        pixels, relu = x.height * x.width, node.floor == 0
        return normalize.flatten(x_at, pixels, x.stored, block, size, gamma, beta, eps, None, residual, relu, y_at)

    return Step(
        node,
        f"{node.kind} {node.module.groups}",
        x,
        y,
        normalize,
        arguments,
        lambda n: n * (x.stored // block),
        work_bytes=WORK * block,
    )


def _activation(node, x, y) -> Step:
    kernel, floats = ACTIVATION[node.kind], x.height * x.width * x.stored
    slope = [np.array([node.module.static["negative_slope"]], np.float32)] if node.kind == "leaky_relu" else []

    def arguments(n, x_at, y_at, residual):
        return kernel.flatten(x_at, n * floats, *slope, y_at)

    return Step(node, node.kind, x, y, kernel, arguments, lambda n: activation.parts(n * floats))


def _add(node, x, y) -> Step:
    def arguments(n, x_at, y_at, residual):
        return pointwise.add.flatten(x_at, residual, n * x.height * x.width, x.stored, node.floor == 0, y_at)

    return Step(node, node.kind, x, y, pointwise.add, arguments, _pixel_items(x))


def _pixel_items(x) -> Callable:
    return lambda n: ceil_div(n * x.height * x.width, pointwise.PIXELS)


def _max_pool(node, x, y) -> Step:
    window = window_numbers(pool_window(node.module, x.height, x.width))
    return Step(
        node,
        node.kind,
        x,
        y,
        max_pool,
        lambda n, x_at, y_at, residual: max_pool.flatten(x_at, stored(n, x), window, y_at, stored(n, y)),
        lambda n: n * y.height,
    )


def _mean(node, x, y) -> Step:
    return Step(
        node,
        node.kind,
        x,
        y,
        global_mean,
        lambda n, x_at, y_at, residual: global_mean.flatten(x_at, x.height * x.width, x.stored, y_at),
        lambda n: n,
    )


def _subsample(node, x, y) -> Step:
    def arguments(n, x_at, y_at, residual):
        return pointwise.subsample.flatten(
            x_at, stored(n, x), x.channels, stride_of(node), node.before, y_at, stored(n, y)
        )

    return Step(node, node.kind, x, y, pointwise.subsample, arguments, lambda n: n * y.height)


def call(node, x, y) -> Step:
    """Whatever has no kernel: the module itself, between two changes of layout."""
    channels_first = node.inputs[0].kind == "input"
    return Step(
        node,
        node.kind,
        x,
        y,
        compute=lambda n, x_at, y_at: write(node.module(read(x_at, n, x, channels_first)), y_at, y),
    )
