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
        "affine": affine,
        "relu": affine,
        "add": add,
        "max_pool": pooled,
        "mean": mean,
        "subsample": _subsample,
        "call": call,
    }[node.kind]
    return make(node, x, y)


def affine(node, x, y, kernel=pointwise.affine) -> Step:
    """A batch norm, or a ReLU alone, by a kernel of any precision."""
    scale, shift = np.ones(x.stored, np.float32), np.zeros(x.stored, np.float32)
    if node.weight is not None:
        scale[: x.channels], shift[: x.channels] = node.weight, node.bias
    relu = node.kind == "relu" or node.floor == 0

    def arguments(n, x_at, y_at, residual):
        return kernel.flatten(x_at, n * x.height * x.width, x.stored, scale, shift, relu, y_at)

    return Step(node, node.kind, x, y, kernel, arguments, pixel_items(x))


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


def add(node, x, y, kernel=pointwise.add) -> Step:
    """A residual sum, by a kernel of any precision."""

    def arguments(n, x_at, y_at, residual):
        return kernel.flatten(x_at, residual, n * x.height * x.width, x.stored, node.floor == 0, y_at)

    return Step(node, node.kind, x, y, kernel, arguments, pixel_items(x))


def pixel_items(x) -> Callable:
    """How many work items the pixels of n images make."""
    return lambda n: ceil_div(n * x.height * x.width, pointwise.PIXELS)


def pooled(node, x, y, kernel=max_pool) -> Step:
    """A max-pool, by a kernel of any precision."""
    window = window_numbers(pool_window(node.module, x.height, x.width))
    return Step(
        node,
        node.kind,
        x,
        y,
        kernel,
        lambda n, x_at, y_at, residual: kernel.flatten(x_at, stored(n, x), window, y_at, stored(n, y)),
        lambda n: n * y.height,
    )


def mean(node, x, y, kernel=global_mean) -> Step:
    """Means over the image, by a kernel of any precision."""
    return Step(
        node,
        node.kind,
        x,
        y,
        kernel,
        lambda n, x_at, y_at, residual: kernel.flatten(x_at, x.height * x.width, x.stored, y_at),
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
