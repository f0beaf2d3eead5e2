"""One training step on any device: loss, gradients, and the optimiser, each checked by the host before the next.

[M] Zhang et al. 2017, mixup, arXiv:1710.09412
"""

import numpy as np

from .. import ops
from ..backend import Array, Pullback
from ..data.augment import mix_up
from ..data.batches import Batch, on_device_of
from .gradients import check_gradients, check_loss, clip_gradients, gradient_norm, scale_gradients
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
        share = mixing_share(recipe.mixup, trainer.seed, now)
        loss, right, n, scale = 0.0, 0, len(batch.labels), float(precision.scale)
        model.zero_grad()
        for part in batch.parts(recipe.accumulate):
            x, labels = on_device_of(model, part)
            x = mix_up(x, share) if recipe.mixup else x
            logits, pullback = precision.logits_vjp(x)
            value, loss_pullback = cross_entropy(logits, labels, share, recipe.label_smoothing)
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


def cross_entropy(logits: Array, labels: Array, share: float, smoothing: float) -> tuple[Array, Pullback]:
    """λ L(y) + (1 − λ) L(y reversed), the mean loss of images that were mixed with share λ.                 [M] §2

    L is the cross-entropy of (N, K) logits and (N,) labels; λ is 1 without mixup.
    """
    loss, pullback = ops.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    if share == 1:
        return loss, pullback
    other, other_pullback = ops.softmax_cross_entropy(logits, labels[::-1], label_smoothing=smoothing)
    return (
        share * loss + (1 - share) * other,
        lambda dloss=1.0: pullback(share * dloss) + other_pullback((1 - share) * dloss),
    )


def mixing_share(alpha: float, seed: int, step: int) -> float:
    """λ ~ Beta(α, α), or 1 where α is 0.                                                                    [M] §2

    [M] takes λ as it is drawn; here it is the larger of λ and 1 − λ, so that an image's own label weighs more.
    """
    if not alpha:
        return 1.0
    share = float(np.random.default_rng([seed, 2, step]).beta(alpha, alpha))
    return max(share, 1 - share)
