"""Running statistics where every rank's batch norms see its own images alone."""

from itertools import accumulate

import numpy as np

from ..backend import Array, array_namespace
from ..distributed import Communicator
from ..nn import BatchNorm2d, Buffer, Module


class RankStatistics:
    """Moves the running statistics as if the ranks' images had come one rank after another, as parts of a batch do.

    A rank that has moved them k times from r has made (1 − a)ᵏ r + c of them, a being the momentum: c is all that the
    others need to know.

    Raises ValueError for a batch norm whose momentum changes from batch to batch.
    """

    def __init__(self, model: Module, ranks: Communicator) -> None:
        norms = [m for m in model.modules() if isinstance(m, BatchNorm2d) and m.running_mean and not m.frozen]
        momenta = [norm.momentum for norm in norms if norm.momentum is not None]
        if len(momenta) < len(norms):
            raise ValueError("a batch norm with momentum=None needs its batches of all ranks: use --sync-batch-norm")
        self.ranks, self.buffers = ranks, [b for norm in norms for b in (norm.running_mean, norm.running_var)]
        self.counters: list[Buffer] = [norm.num_batches_tracked for norm in norms]
        self.keep = np.repeat(1 - np.array(momenta), [2 * norm.running_mean.value.size for norm in norms])
        self.before: Array | None = None
        self.seen: list[Array] = []

    def begin(self) -> None:
        """Called before a step."""
        if self.buffers:
            self.before, self.seen = self._flat(), [counter.value for counter in self.counters]

    def end(self, moved: int) -> None:
        """Called after a step, in which this rank has moved them ``moved`` times."""
        if self.before is None:
            return
        now, counts = self.before, self.ranks.all_gather(moved)
        keep = array_namespace(now).asarray(self.keep, now.dtype)
        for count, c in zip(counts, self.ranks.gather(self._flat() - keep**moved * now)):
            now = keep**count * now + c
        stops = accumulate(buffer.value.size for buffer in self.buffers)
        for buffer, stop in zip(self.buffers, stops):
            buffer.value = now[stop - buffer.value.size : stop].copy()
        for counter, seen in zip(self.counters, self.seen):
            counter.value = array_namespace(seen).asarray(seen + sum(counts))

    def _flat(self) -> Array:
        arrays = [buffer.value for buffer in self.buffers]
        return array_namespace(*arrays).concatenate(arrays)
