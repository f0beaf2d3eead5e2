"""The engine for NumPy arrays: a plan for each size of input, carried out by a thread pool in one call.

model -> steps (lower, fold, fuse) -> a plan for a size of input (algorithms, buffers) -> run
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import Array
from ...kernels.cpu.threads import threads_now
from ..base import Engine
from ..graph import Node, folded
from ..shapes import Image, batch_limit
from .bind import bind
from .buffers import Buffers
from .plan import Plan
from .step import Step


class CpuEngine(Engine):
    """The engine on a CPU, in float32.

    A call takes the buffers for itself and gives them back when all is done.  One that a signal or an error ends does
    not: a thread of the pool may still be at work there.  The next call then finds none, and allocates.
    """

    def __init__(self, model: Any, threads: int | None = None, profile: bool = False):
        nodes = self.lowered(model)
        super().__init__(model, nodes)
        self.threads, self.profile = threads or threads_now(), profile
        self.runs_on = f"numba, {self.threads} thread{'s' if self.threads > 1 else ''}"
        self._packed: dict[tuple[Node, str], Any] = {}
        self._buffers: Buffers | None = None
        self.lock = threading.RLock()  # a signal's handler may call, too
        _engines.add(self)
        channels = [max(node.weight.shape[:2]) for node in nodes if node.kind == "conv" and node.weight is not None]
        self._zeros = np.zeros(max(channels, default=0) + 1024, np.float32)

    def lowered(self, model: Any) -> list[Node]:
        """The model's steps."""
        return folded(model)

    def bind(self, node: Node, images: dict[Node, Image], n: int) -> Step:
        """The step of a node for n images at a time."""
        return bind(node, images, n, self.threads, self._packed_weights, self._zeros)

    def run(self, x: Array, nodes: list[Node]) -> Array:
        limit = batch_limit(*x.shape[2:])
        results = [self._run_part(part, nodes) for part in np.array_split(x, -(-len(x) // limit))]
        return results[0] if len(results) == 1 else np.concatenate(results)

    def _run_part(self, x, nodes):
        plan = self.plan_for(x.shape, nodes)
        buffers, self._buffers = self._buffers, None
        needed = plan.arena_bytes, plan.work_bytes * self.threads
        buffers = buffers.grown(needed) if buffers else Buffers(needed)
        y = plan.run(x, buffers, self.profile)
        self._buffers = buffers
        return y

    def make_plan(self, shape: tuple[int, ...], nodes: list[Node]) -> Plan:
        return Plan(nodes, shape[0], shape[1:], self.threads, self.bind)

    def missing_kernels(self, shape: tuple[int, ...]) -> int:
        with self.lock:
            kernels = {step.kernel for step in self.plan_for(shape, self.nodes).steps if step.kernel}
        return sum(not kernel.is_cached() for kernel in kernels)

    def _packed_weights(self, node: Node, key: str, make: Callable[[], Any]) -> Any:
        """A step's weights as an algorithm reads them, packed once."""
        if (node, key) not in self._packed:
            self._packed[node, key] = make()
        return self._packed[node, key]

    @property
    def weight_bytes(self) -> int:
        """Memory of the packed and transformed weights."""
        return sum(a[0].nbytes if isinstance(a, tuple) else a.nbytes for a in self._packed.values())

    def checked(self, x: Array) -> Array:
        x = super().checked(np.asarray(x))
        if x.dtype != np.float32:
            raise TypeError(f"the engine works in float32, not {x.dtype}; convert with astype(np.float32)")
        return np.ascontiguousarray(x)


_engines = weakref.WeakSet()


def _after_a_fork():
    """In the child there are no threads that took an engine's lock or its buffers, and none will give them back."""
    for engine in _engines:
        engine.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_a_fork)
