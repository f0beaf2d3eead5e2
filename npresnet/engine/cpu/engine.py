"""The fast road for a finished model: ``optimize(model)`` gives a callable with the same logits.

    model -> steps (lower, fold, fuse) -> a plan for a size of input (algorithms, buffers) -> run
"""

import os
import threading
import warnings
import weakref

import numpy as np

from ...backend import array_namespace, without_numba
from ...nn import BatchNorm2d, Module, Softmax
from ..buffers import Buffers

KEPT = 16                # sizes of input whose plans are kept, those last used


def optimize(model: Module, *, threads: int | None = None, profile: bool = False):
    """A fast equivalent of a finished ``model``: takes and returns arrays as ``model(x)`` does; on the CPU in float32.

    The weights are copied: training ``model`` afterwards does not change the engine.  ``profile=True`` times each step
    (see ``print(engine.plan)``), run by itself, so that short ones carry the time to wake the threads.  Without Numba
    (or where NUMBA_DISABLE_JIT stops it) the model itself is returned, with a warning.
    """
    if not isinstance(model, Module):
        raise TypeError(f"optimize takes a model, not {type(model).__name__}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is how many may work at once, or None for all cores, not {threads}")
    if any(isinstance(part, BatchNorm2d) and part.training and not part.frozen for part in model.modules()):
        raise ValueError("this model is in training mode, where batch norm follows the batch; call model.eval() first")
    if any(array_namespace(box.value) is not np for box in model.parameters()):
        from ..gpu.engine import GpuEngine
        return GpuEngine(model)
    if reason := without_numba():
        warnings.warn(f"optimize() runs the model itself: {reason}", stacklevel=2)
        return model
    return Engine(model, threads, profile)


def compiled() -> bool:
    """Whether an engine has run on this machine before, so that its kernels need not be compiled."""
    if without_numba():
        return False
    from ...kernels.cpu.program.thread_pool import walk_is_kept
    return walk_is_kept()


def made_here(engine):
    """In the place of ``__reduce__``, which pickle and deepcopy ask."""
    raise TypeError("an engine is machine code and cannot be copied or pickled; copy the model and optimize() the copy")


class Engine:
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
        self.softmax = self.nodes.pop().module if isinstance(self.nodes[-1].module, Softmax) else None
        self.in_channels = _in_channels(model)
        self.threads = threads or default_threads()
        self.profile, self.plan = profile, None
        self._plans, self._packed, self._buffers = {}, {}, None
        self._lock = threading.RLock()                            # a signal's handler may call, too
        _engines.add(self)
        channels = [max(node.weight.shape[:2]) for node in self.nodes if node.kind == "conv"]
        self._zeros = np.zeros(max(channels, default=0) + 1024, np.float32)

    __reduce__ = made_here

    def __call__(self, x) -> np.ndarray:
        """The model's output for x (N, C, H, W) in float32."""
        scores = self.logits(x)
        return scores if self.softmax is None else self.softmax(scores)

    def logits(self, x) -> np.ndarray:
        """The scores: the output, or what a softmax at the end is given."""
        x = self._checked(x)
        if len(x) == 0:
            return self.logits(np.zeros((1, *x.shape[1:]), np.float32))[:0]
        with self._lock:
            return self._run(x)

    def _run(self, x):
        from .plan import batch_limit
        limit = batch_limit(self.nodes, x.shape[1:])
        results = [self._part(part) for part in np.array_split(x, -(-len(x) // limit))]
        return results[0] if len(results) == 1 else np.concatenate(results)

    def _part(self, x):
        self.plan = plan = self._planned(x.shape)
        buffers, self._buffers = self._buffers, None
        needed = plan.arena_bytes, plan.work_bytes * self.threads
        buffers = buffers.grown(needed) if buffers else Buffers(needed)
        y = plan.run(x, buffers, self.profile)
        self._buffers = buffers
        return y

    def _planned(self, shape):
        from .plan import Plan
        plan = self._plans.pop(shape, None)                       # to put it in again as the last
        while len(self._plans) >= KEPT:
            del self._plans[next(iter(self._plans))]
        plan = plan or Plan(self.nodes, shape[0], shape[1:], self.threads, self._keep, self._zeros)
        self._plans[shape] = plan
        return plan

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

    def _checked(self, x):
        x = np.asarray(x)
        if x.ndim != 4 or self.in_channels not in (None, x.shape[1]):
            raise ValueError(f"this model takes images (N, {self.in_channels or 'C'}, H, W), not {x.shape}")
        if x.dtype != np.float32:
            raise TypeError(f"the engine works in float32, not {x.dtype}; convert with astype(np.float32)")
        if 0 in x.shape[1:]:
            raise ValueError(f"there is no pixel in these images: {x.shape}")
        return np.ascontiguousarray(x)


def _in_channels(model):
    return model.spec.in_channels if hasattr(model, "spec") else None


_engines = weakref.WeakSet()


def _after_a_fork():
    """In the child there are no threads that took an engine's lock or its buffers, and none will give them back."""
    for engine in _engines:
        engine._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_a_fork)
