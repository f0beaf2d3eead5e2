"""A node bound to its buffers on the GPU: a call without arguments that only launches, so that a graph can hold it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...backend import Array, to_device
from ...kernels.gpu.affine import affine
from ...kernels.gpu.launch import sum_dtype
from ...kernels.gpu.pool import global_mean, max_pool
from ...nn import Identity
from ..graph import Node, stride_of
from ..shapes import Image, pool_window
from .convolutions import Named, convolution
from .resources import Resources


@dataclass
class GpuStep:
    """One step; ``shape`` is that of what it writes."""

    node: Node
    algorithm: str
    shape: tuple[int, ...]
    run: Callable[[], Any]
    capturable: bool = True


def bind(resources: Resources, node: Node, at: Mapping[Node, Array], image: Image) -> GpuStep:
    """The step of ``node``, whose buffers (N, H, W, C) are ``at[node]``; it reads images of the shape ``image``."""
    reads, y = [at[read] for read in node.inputs], at[node]
    if node.kind == "call":
        algorithm, run = _call(resources, node, reads[0], y, image)
    else:
        make = {
            "conv": convolution,
            "affine": _affine,
            "relu": _affine,
            "add": _add,
            "max_pool": _max_pool,
            "mean": _mean,
            "subsample": _subsample,
        }[node.kind]
        algorithm, run = make(resources, node, reads, y)
    return GpuStep(node, algorithm, y.shape, run, node.kind != "call" or isinstance(node.module, Identity))


def _affine(resources, node, reads, y) -> Named:
    """max(scale · x + shift, floor)"""
    xp, x, channels = resources.xp, reads[0], y.shape[3]
    given = node.kind == "affine"
    scale, shift = resources.weights(
        node,
        lambda: tuple(
            xp.asarray(a, sum_dtype(x.dtype)) if given else xp.full(channels, fill, sum_dtype(x.dtype))
            for a, fill in ((node.weight, 1), (node.bias, 0))
        ),
    )
    floor = node.floor if given else 0.0
    return node.kind, lambda: affine(x, scale, shift, floor=floor, out=y)


def _add(resources, node, reads, y) -> Named:
    x, residual = reads
    ones, zeros = (resources.xp.full(y.shape[3], fill, sum_dtype(y.dtype)) for fill in (1, 0))
    return "add" + " relu" * (node.floor == 0), lambda: affine(x, ones, zeros, residual, node.floor, out=y)


def _max_pool(resources, node, reads, y) -> Named:
    window, winner = pool_window(node.module, *reads[0].shape[1:3]), resources.xp.empty(y.shape, resources.xp.uint8)
    return "max pool", lambda: max_pool(reads[0], window, winner, out=y)


def _mean(resources, node, reads, y) -> Named:
    return "mean", lambda: global_mean(reads[0], out=y.reshape(len(y), -1))


def _subsample(resources, node, reads, y) -> Named:
    """Shortcut A: every s-th pixel, between zero channels."""
    x, (sh, sw) = reads[0], stride_of(node)
    middle = y[..., node.before : node.before + x.shape[3]]

    def run():
        y[...] = 0
        middle[...] = x[:, ::sh, ::sw]

    return "subsample", run


def _call(resources, node, x, y, image) -> Named:
    """A layer without a kernel: the module itself, its arrays on the GPU, between two changes of layout."""
    x = x[..., : image.channels]  # the net's input may be stored with more
    if isinstance(node.module, Identity):
        return "copy", lambda: y.__setitem__(..., x)
    module = resources.weights(node, lambda: to_device(node.module.astype(resources.dtype), "cuda"))

    def run():
        images = x.transpose(0, 3, 1, 2)
        result = module(images.reshape(len(x), -1) if image.flat else images)
        y[...] = result.reshape(y.shape) if result.ndim == 2 else result.transpose(0, 2, 3, 1)

    return type(node.module).__name__, run
