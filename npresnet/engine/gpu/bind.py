"""A node bound to its buffers on the GPU: a call without arguments that only launches, so that a graph can hold it."""

from collections.abc import Callable
from dataclasses import dataclass

from ...backend import to_device
from ...kernels.gpu.affine import affine
from ...kernels.gpu.launch import sum_dtype
from ...kernels.gpu.pool import global_mean, max_pool
from ...nn import Identity
from ..graph import Node, stride_of
from ..shapes import pool_window
from .convolutions import convolution


@dataclass
class GpuStep:
    """One step; ``shape`` is that of what it writes."""

    node: Node
    algorithm: str
    shape: tuple
    run: Callable
    capturable: bool = True


def bind(engine, node, at, image) -> GpuStep:
    """The step of ``node``, whose buffers (N, H, W, C) are ``at[node]``; it reads images like ``image``."""
    reads, y = [at[read] for read in node.inputs], at[node]
    make = {"conv": convolution, "affine": _affine, "relu": _affine, "add": _add, "max_pool": _max_pool,
            "mean": _mean, "subsample": _subsample}.get(node.kind)
    algorithm, run = make(engine, node, reads, y) if node.kind != "call" else _call(engine, node, reads[0], y, image)
    return GpuStep(node, algorithm, y.shape, run, node.kind != "call" or isinstance(node.module, Identity))


def _affine(engine, node, reads, y):
    """max(scale · x + shift, floor)"""
    xp, x, channels = engine.xp, reads[0], y.shape[3]
    given = node.kind == "affine"
    scale, shift = engine.weights(node, lambda: tuple(
        xp.asarray(a, sum_dtype(x.dtype)) if given else xp.full(channels, fill, sum_dtype(x.dtype))
        for a, fill in ((node.weight, 1), (node.bias, 0))))
    floor = node.floor if given else 0.0
    return node.kind, lambda: affine(x, scale, shift, floor=floor, out=y)


def _add(engine, node, reads, y):
    x, residual = reads
    ones, zeros = (engine.xp.full(y.shape[3], fill, sum_dtype(y.dtype)) for fill in (1, 0))
    return "add" + " relu" * (node.floor == 0), lambda: affine(x, ones, zeros, residual, node.floor, out=y)


def _max_pool(engine, node, reads, y):
    window, winner = pool_window(node.module, *reads[0].shape[1:3]), engine.xp.empty(y.shape, engine.xp.uint8)
    return "max pool", lambda: max_pool(reads[0], window, winner, out=y)


def _mean(engine, node, reads, y):
    return "mean", lambda: global_mean(reads[0], out=y.reshape(len(y), -1))


def _subsample(engine, node, reads, y):
    """Shortcut A: every s-th pixel, between zero channels."""
    x, (sh, sw) = reads[0], stride_of(node)
    middle = y[..., node.before:node.before + x.shape[3]]

    def run():
        y[...] = 0
        middle[...] = x[:, ::sh, ::sw]

    return "subsample", run


def _call(engine, node, x, y, image):
    """Whatever has no launch: the module itself, its arrays on the GPU, between two changes of layout."""
    x = x[..., :image.channels]                              # the net's input may be stored with more
    if isinstance(node.module, Identity):
        return "copy", lambda: y.__setitem__(..., x)
    module = engine.weights(node, lambda: to_device(node.module.astype(engine.dtype), "cuda"))

    def run():
        images = x.transpose(0, 3, 1, 2)
        result = module(images.reshape(len(x), -1) if image.flat else images)
        y[...] = result.reshape(y.shape) if result.ndim == 2 else result.transpose(0, 2, 3, 1)

    return type(node.module).__name__, run
