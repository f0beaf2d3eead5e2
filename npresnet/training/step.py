"""One training step on any device: loss, gradients, and the optimiser, each checked by the host before the next."""

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
        loss, right, n, scale = 0.0, 0, len(batch.labels), float(precision.scale)
        model.zero_grad()
        for part in batch.parts(recipe.accumulate):
            x, labels = on_device_of(model, part)
            x = mixing(x)
            logits, pullback = precision.logits_vjp(x)
            value, loss_pullback = LOSSES[recipe.loss](logits, labels, mixing.share, recipe.label_smoothing)
            check_loss(float(value), model, x)
            pullback(loss_pullback(scale * len(labels) / n))  # the parts' gradients add up to the batch's
            loss += float(value) * len(labels)
            right += int((logits.argmax(axis=1) == labels).sum())
        norm = gradient_norm(model.parameters()) / scale
        if precision.update_scale(norm < float("inf")):
            check_gradients(norm, model)
            self.update_weights(norm, scale, recipe.rate(now, len(trainer.batches)))
        self.totals = Totals(self.totals.loss + loss, self.totals.right + right, self.totals.images + n)

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
