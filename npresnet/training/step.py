"""One training step on any device: loss, gradients, and the optimiser, each checked by the host before the next."""

from contextlib import AbstractContextManager, nullcontext

from ..backend import Array, Pullback
from ..data.batches import Batch, on_device_of
from .gradients import check_gradients, check_loss, clip_gradients, gradient_norm, scale_gradients
from .losses import LOSSES
from .mixing import draw_mixing
from .run import Run, Totals


class Step:
    """A step on any device.  The loss and the gradients are checked before the weights change."""

    totals: Totals

    def __init__(self, trainer: Run) -> None:
        self.trainer, self.totals = trainer, Totals()

    def __call__(self, batch: Batch) -> None:
        """One step of the optimiser.  Raises TrainingError where the loss or a gradient is not finite."""
        trainer = self.trainer
        model, recipe, precision = trainer.model, trainer.recipe, trainer.precision
        now = trainer.epoch * len(trainer.batches) + trainer.step
        mixing = draw_mixing(recipe.mixup, recipe.cutmix, trainer.seed, now, batch.x.shape[2:])
        sums, scale = Totals(), float(precision.scale)
        parts, n = self.shares(batch)
        model.zero_grad()
        self.begin(len(parts))
        for part in parts:
            x, labels = on_device_of(model, part)
            x = mixing(x)
            logits, pullback = precision.logits_vjp(x)
            value, loss_pullback = self.loss(logits, labels, mixing.share)
            check_loss(float(value), model, x)
            with self.sums_started():
                pullback(loss_pullback(scale * len(labels) / n))  # the parts' gradients add up to the batch's
            right = int((logits.argmax(axis=1) == labels).sum())
            sums = sums.plus(Totals(float(value) * len(labels), right, len(labels)))
        sums = self.end(sums, parts)
        norm = gradient_norm(model.parameters()) / scale
        if precision.update_scale(norm < float("inf")):
            check_gradients(norm, model)
            self.update_weights(norm, scale, recipe.rate(now, len(trainer.batches)))
        self.totals = self.totals.plus(sums)

    def loss(self, logits: Array, labels: Array, share: float) -> tuple[Array, Pullback]:
        """The mean loss of a part, and its pullback."""
        return LOSSES[self.trainer.recipe.loss](logits, labels, share, self.trainer.recipe.label_smoothing)

    def shares(self, batch: Batch) -> tuple[list[Batch], int]:
        """(the parts that the batch is computed in, the number of its images)."""
        return batch.parts(self.trainer.recipe.accumulate), len(batch.labels)

    def begin(self, parts: int) -> None:
        """Called before the first of so many parts."""

    def sums_started(self) -> AbstractContextManager[None]:
        """A context for a part's pullback."""
        return nullcontext()

    def end(self, sums: Totals, parts: list[Batch]) -> Totals:
        """Called after the last part; the sums over the batch."""
        return sums

    def update_weights(self, norm: float, scale: float, rate: float) -> None:
        """The optimiser's step: gradients are multiplied by ``scale``; ``norm`` is their norm without it."""
        trainer, parameters = self.trainer, self.trainer.model.parameters()
        if scale != 1:
            scale_gradients(parameters, 1 / scale)
        if trainer.recipe.clip:
            clip_gradients(parameters, norm, trainer.recipe.clip)
        trainer.optimizer.step(rate)
        if trainer.ema:
            trainer.ema.update(trainer.model)
