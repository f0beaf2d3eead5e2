"""A training step whose batch several ranks share.

Every rank has its images' part of the loss, Σ over its share / the count of all: the sum over the ranks is the mean
over the batch, and its gradient the sum of theirs, whatever the shares' sizes.  A mean of means would be neither.
"""

from contextlib import AbstractContextManager, nullcontext

import numpy as np

from ..backend import Array, Pullback, array_namespace
from ..data.batches import Batch
from .gradient_sums import GradientSums
from .rank_statistics import RankStatistics
from .run import Run, Totals
from .step import Step


class SharedStep(Step):
    """A :class:`.step.Step` that ranks make together; ``trainer.batches`` gives this rank's share of each batch."""

    def __init__(self, trainer: Run) -> None:
        super().__init__(trainer)
        self.communicator = trainer.communicator
        self.gradients = GradientSums(trainer.model, self.communicator, half=trainer.recipe.half_sums)
        own = not trainer.recipe.sync_batch_norm
        self.statistics = RankStatistics(trainer.model, self.communicator) if own else None

    def shares(self, batch: Batch) -> tuple[list[Batch], int]:
        n = self.trainer.batches.images_in(self.trainer.step)
        sizes = [part.stop - part.start for part in self.trainer.batches.share.slices(n)]
        stops = np.cumsum(sizes)
        return [Batch(*(array[stop - size : stop] for array in batch)) for size, stop in zip(sizes, stops)], n

    def loss(self, logits: Array, labels: Array, share: float) -> tuple[Array, Pullback]:
        if len(labels):
            return super().loss(logits, labels, share)
        return logits.sum(), lambda dloss=1.0: array_namespace(logits).zeros_like(logits)  # of a share of no images

    def begin(self, parts: int) -> None:
        self.parts = parts
        self.gradients.begin()
        if self.statistics:
            self.statistics.begin()

    def sums_started(self) -> AbstractContextManager[None]:
        """The pullback may start sums of gradients, unless those of several parts are to be added first."""
        return self.gradients.during_pullback() if self.parts == 1 else nullcontext()

    def end(self, sums: Totals, parts: list[Batch]) -> Totals:
        self.gradients.finish()
        if self.statistics:
            self.statistics.end(sum(len(part.labels) > 0 for part in parts))
        loss, right, images = self.communicator.all_reduce(np.array(sums, np.float64)).tolist()
        return Totals(loss, round(right), round(images))
