"""The engine for CuPy arrays: the same steps, launched into one arena, and captured into a CUDA graph for each size.

    model -> steps (lower, fold, fuse) -> launches with their buffers -> graph -> one call a batch

How a convolution is computed, by cuBLAS or without columns in memory, is measured once for each size.
"""

import threading

import numpy as np

from ...backend import array_namespace, captured, tf32_allowed, to_device
from ...kernels.gpu.im2col import missing
from ..base import BaseEngine
from ..buffers import Life, assign
from ..graph import Node, fuse, lower
from ..shapes import images
from .bind import bind


class GpuEngine(BaseEngine):
    """A model compiled to launches.  ``engine(x)`` runs it; ``print(engine.plan)`` shows the last plan.

    The first call for a size measures how its convolutions are best computed, which takes some seconds, and runs each
    launch once; the second captures them, later ones launch the graph.  Whether TF32 may be used
    (:func:`npresnet.backend.tf32`) is settled when the engine is made.
    """

    KEPT = 8            # with their graphs and buffers

    def __init__(self, model):
        self.xp, self.dtype, self.tf32 = model.namespace, model.dtype, tf32_allowed()
        self.nodes = unpooled(fuse(lower(to_device(model, "cpu").astype(np.result_type(self.dtype, np.float32)))))
        super().__init__(model)
        self._weights, self._choices, self.lock = {}, {}, threading.Lock()
        self._scratch, self._done = self.xp.empty(0, self.xp.uint8), self.xp.cuda.Event(disable_timing=True)

    def checked(self, x):
        if array_namespace(x) is not self.xp:
            raise TypeError("this model is on a GPU and its images are not; move them with to_device(images, 'cuda')")
        if x.dtype != self.dtype:
            raise TypeError(f"this model takes images in {self.dtype}, not in {x.dtype}")
        return super().checked(x)

    def made(self, shape):
        return GpuPlan(self, shape)

    def run(self, x):
        plan = self.planned(x.shape)
        stream = self.xp.cuda.get_current_stream()
        stream.wait_event(self._done)                           # another stream may still use the buffers
        y = plan.run(x)
        stream.record(self._done)
        return y

    def weights(self, node, make):
        """The weights of a step as its launches read them, uploaded once."""
        if node not in self._weights:
            self._weights[node] = make()
        return self._weights[node]

    def choice(self, key, make) -> int:
        """Which of several ways a step takes, found out once for each ``key``."""
        if key not in self._choices:
            self._choices[key] = make()
        return self._choices[key]

    def scratch(self, shape, dtype):
        """An array that holds its numbers for one step only: the next one may be given the same memory."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self._scratch.nbytes < nbytes:
            self._scratch = self.xp.empty(nbytes, self.xp.uint8)
        return self._scratch[:nbytes].view(dtype).reshape(shape)


class GpuPlan:
    """The launches for one size of input, their buffers, and the graph."""

    def __init__(self, engine, shape):
        xp, n, nodes = engine.xp, shape[0], engine.nodes
        self.xp, self.graph, self.calls = xp, None, 0
        self.images = images(nodes, *shape[1:])
        shapes = {node: (n, i.height, i.width, i.channels) for node, i in self.images.items()}
        shapes[nodes[0]] = *shapes[nodes[0]][:3], shape[1] + missing(shape[1], engine.dtype)    # with zeros
        sizes = {node: int(np.prod(shape)) * engine.dtype.itemsize for node, shape in shapes.items()}
        offsets, size = assign(lifetimes(nodes, sizes))
        self.arena = xp.empty(size, xp.uint8)
        self.at = {node: self.arena[offsets[node]:offsets[node] + sizes[node]].view(engine.dtype).reshape(shapes[node])
                   for node in nodes}
        self.input, self.output, self.flat = self.at[nodes[0]], self.at[nodes[-1]], self.images[nodes[-1]].flat
        self.input[...] = 0
        self.steps = [bind(engine, node, self.at, self.images[node.inputs[0]]) for node in nodes[1:]]

    def run(self, x):
        """The result for x, as a fresh array."""
        self.input[..., :x.shape[1]] = x.transpose(0, 2, 3, 1)
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

    def __str__(self):
        rows = [(step.node.name, step.algorithm, *map(str, step.shape)) for step in self.steps]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
        return "\n".join([*lines, f"buffers {self.arena.nbytes / 2**20:.1f} MiB; " + (
            "captured" if self.graph else "not captured")])


def lifetimes(nodes, sizes) -> dict:
    """From the step that writes a result to the last that reads it; input and output live throughout."""
    last = {read: number for number, node in enumerate(nodes) for read in node.inputs}
    ends = {nodes[0]: (0, len(nodes)), nodes[-1]: (0, len(nodes))}
    return {node: Life(sizes[node], *ends.get(node, (number, last.get(node, number))))
            for number, node in enumerate(nodes)}


def unpooled(nodes) -> list[Node]:
    """A convolution's own max-pool as a step of its own."""
    found = []
    for node in nodes:
        found.append(node)
        if node.pool:
            pool = Node("max_pool", [node], f"{node.name} pool", node.pool)
            node.pool = None
            for other in nodes:
                other.inputs = [pool if read is node else read for read in other.inputs]
            found.append(pool)
    return found
