"""The engine for NumPy arrays: a plan for each size of input, walked through by a thread pool in one call.

    model -> steps (lower, fold, fuse) -> a plan for a size of input (algorithms, buffers) -> run
"""

import os
import threading
import weakref

import numpy as np

from ..base import BaseEngine
from ..buffers import Buffers


class Engine(BaseEngine):
    """A model compiled to steps.  ``engine(x)`` runs it; ``print(engine.plan)`` shows the last plan.

    Plans are made for each batch and image size when first met, and kept for the last few.  Calls from several threads
    take turns.

    A call takes the buffers for itself and gives them back when all is done.  One that a signal or an error ends does
    not: a thread of the team may still be at work there.  The next call then finds none, and allocates.
    """

    def __init__(self, model, threads=None, profile=False):
        from ...kernels.cpu.threads import default_threads
        from ..graph import fuse, lower
        self.nodes = fuse(lower(model))
        for node in self.nodes:                                   # folded in float64, kept in float32
            if node.weight is not None:
                node.weight, node.bias = node.weight.astype(np.float32), node.bias.astype(np.float32)
        super().__init__(model)
        self.threads = threads or default_threads()
        self.profile = profile
        self._packed, self._buffers = {}, None
        self.lock = threading.RLock()                            # a signal's handler may call, too
        _engines.add(self)
        channels = [max(node.weight.shape[:2]) for node in self.nodes if node.kind == "conv"]
        self._zeros = np.zeros(max(channels, default=0) + 1024, np.float32)

    def run(self, x):
        from .plan import batch_limit
        limit = batch_limit(self.nodes, x.shape[1:])
        results = [self._part(part) for part in np.array_split(x, -(-len(x) // limit))]
        return results[0] if len(results) == 1 else np.concatenate(results)

    def _part(self, x):
        plan = self.planned(x.shape)
        buffers, self._buffers = self._buffers, None
        needed = plan.arena_bytes, plan.work_bytes * self.threads
        buffers = buffers.grown(needed) if buffers else Buffers(needed)
        y = plan.run(x, buffers, self.profile)
        self._buffers = buffers
        return y

    def made(self, shape):
        from .plan import Plan
        return Plan(self.nodes, shape[0], shape[1:], self.threads, self._keep, self._zeros)

    def _keep(self, node, key, make):
        """Packed weights, made once."""
        if (node, key) not in self._packed:
            self._packed[node, key] = make()
        return self._packed[node, key]

    @property
    def weight_bytes(self) -> int:
        """Memory of the packed and transformed weights."""
        return sum(a[0].nbytes if isinstance(a, tuple) else a.nbytes for a in self._packed.values())

    @property
    def buffer_bytes(self) -> int:
        """Memory of activations and workspaces."""
        return sum(self._buffers.sizes) if self._buffers else 0

    def checked(self, x):
        x = np.asarray(x)
        if x.dtype != np.float32:
            raise TypeError(f"the engine works in float32, not {x.dtype}; convert with astype(np.float32)")
        return np.ascontiguousarray(super().checked(x))


_engines = weakref.WeakSet()


def _after_a_fork():
    """In the child there are no threads that took an engine's lock or its buffers, and none will give them back."""
    for engine in _engines:
        engine.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_a_fork)
