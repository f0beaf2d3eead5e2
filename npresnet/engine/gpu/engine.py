"""The engine for CuPy arrays: the same steps, launched into one arena, and captured into a CUDA graph for each size.

    model -> steps (lower, fold, fuse) -> launches with their buffers -> graph -> one call a batch

How a convolution is computed, by cuBLAS or without columns in memory, is measured once for each size.
"""

import threading
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from ...backend import Array, array_namespace, captured, tf32_allowed, to_device
from ...kernels.gpu.im2col import missing_channels
from ...nn import Module
from ...tables import text_lines
from ..base import Engine
from ..buffers import LiveRange, assign
from ..graph import Node, fuse, lower
from ..shapes import images
from .bind import bind
from .resources import Resources


class GpuEngine(Engine):
    """The engine on a GPU, in the dtype of the model.

    The first call for a size measures how its convolutions are best computed, which takes some seconds, and runs each
    launch once; the second captures them, later ones launch the graph.  Whether TF32 may be used
    (:func:`npresnet.backend.tf32`) is decided when the engine is made.
    """

    KEPT = 8  # with their graphs and buffers

    def __init__(self, model: Module):
        self.xp, self.dtype, self.tf32 = model.namespace, model.dtype, tf32_allowed()
        host: Any = to_device(model, "cpu")
        nodes = with_calls(lower(host.astype(np.result_type(self.dtype, np.float32))))
        super().__init__(model, without_pools(fuse(nodes)))
        self.runs_on = f"cupy, {self.dtype}"
        self.resources, self.lock = Resources(self.xp, self.dtype, self.tf32), threading.Lock()
        self._done = self.xp.cuda.Event(disable_timing=True)

    def checked(self, x: Array) -> Array:
        if array_namespace(x) is not self.xp:
            raise TypeError("this model is on a GPU and its images are not; move them with to_device(images, 'cuda')")
        if x.dtype != self.dtype:
            raise TypeError(f"this model takes images in {self.dtype}, not in {x.dtype}")
        return super().checked(x)

    def make_plan(self, shape: tuple[int, ...], nodes: list[Node]) -> "GpuPlan":
        return GpuPlan(self.resources, nodes, shape)

    def run(self, x: Array, nodes: list[Node]) -> Array:
        plan = self.plan_for(x.shape, nodes)
        stream = self.xp.cuda.get_current_stream()
        stream.wait_event(self._done)  # another stream may still use the buffers
        y = plan.run(x)
        stream.record(self._done)
        return y


class GpuPlan:
    """The launches for one shape of input, their buffers, and the graph."""

    def __init__(self, resources: Resources, nodes: list[Node], shape: tuple[int, ...]):
        (n, channels, height, width), xp, dtype = shape, resources.xp, resources.dtype
        self.xp, self.graph, self.calls = xp, None, 0
        self.images = images(nodes, channels, height, width)
        shapes = {node: (n, i.height, i.width, i.channels) for node, i in self.images.items()}
        shapes[nodes[0]] = n, height, width, channels + missing_channels(channels, dtype)  # with zeros
        sizes = {node: prod(shape) * dtype.itemsize for node, shape in shapes.items()}
        offsets, size = assign(live_ranges(nodes, sizes))
        self.arena = xp.empty(size, xp.uint8)
        self.at = {
            node: self.arena[offsets[node] : offsets[node] + sizes[node]].view(dtype).reshape(shapes[node])
            for node in nodes
        }
        self.input, self.output, self.flat = self.at[nodes[0]], self.at[nodes[-1]], self.images[nodes[-1]].flat
        self.input[...] = 0
        self.steps = [bind(resources, node, self.at, self.images[node.inputs[0]]) for node in nodes[1:]]

    def run(self, x: Array) -> Array:
        """The result for x, as a fresh array."""
        self.input[..., : x.shape[1]] = x.transpose(0, 2, 3, 1)
        self.calls += 1
        if self.graph is None and self.calls > 1 and all(step.capturable for step in self.steps):
            self.graph, _ = captured(self.xp, self._launch)
        if self.graph is None:
            self._launch()
        else:
            self.graph.launch()
        y = self.output.copy()
        return y.reshape(len(y), -1) if self.flat else y.transpose(0, 3, 1, 2)

    def _launch(self):
        for step in self.steps:
            step.run()

    def __str__(self) -> str:
        rows = [(step.node.name, step.algorithm, *map(str, step.shape)) for step in self.steps]
        return "\n".join(
            [
                *text_lines(rows),
                f"buffers {self.arena.nbytes / 2**20:.1f} MiB; " + ("captured" if self.graph else "not captured"),
            ]
        )


def live_ranges(nodes: list[Node], sizes: Mapping[Node, int]) -> dict[Node, LiveRange]:
    """From the step that writes a result to the last that reads it; input and output live throughout."""
    last = {read: number for number, node in enumerate(nodes) for read in node.inputs}
    ends = {nodes[0]: (0, len(nodes)), nodes[-1]: (0, len(nodes))}
    return {
        node: LiveRange(sizes[node], *ends.get(node, (number, last.get(node, number))))
        for number, node in enumerate(nodes)
    }


def with_calls(nodes: list[Node]) -> list[Node]:
    """The nodes, those of group norms and of activations other than ReLU as calls: on a GPU they have no launches."""
    for node in nodes:
        if node.kind in ("group_norm", "leaky_relu", "gelu", "silu"):
            node.kind, node.weight, node.bias = "call", None, None
    return nodes


def without_pools(nodes: list[Node]) -> list[Node]:
    """The nodes, each max-pool that was fused into a convolution as a step of its own again."""
    found = []
    for node in nodes:
        found.append(node)
        if node.pool:
            pool = Node("max_pool", [node], f"{node.name} pool", node.pool, names=node.names)
            node.pool, node.names = None, ()
            for other in nodes:
                other.inputs = [pool if read is node else read for read in other.inputs]
            found.append(pool)
    return found
