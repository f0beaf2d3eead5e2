"""How a Trainer makes a step: watched by the host on any device, or as one CUDA graph that the host looks at later.

Both are called with a batch, and have ``totals``: [loss · pictures, right answers, pictures] of the epoch so far.
"""

import numpy as np

from ..data.augment import mix_up
from ..data.batches import on_device_of
from .cuda_step import CapturedStep
from .gradients import TrainingError, check_gradients, check_loss, clip_gradients, gradient_norm, scale_gradients
from .objective import cross_entropy, mixing_share

LOOK = 100               # steps after which the host looks at what a GPU has summed


def make_step(trainer):
    """As graphs where the model is on a GPU, and the recipe leaves nothing for the host to decide within a step."""
    recipe, on_gpu = trainer.recipe, trainer.model.namespace is not np
    decides = recipe.optimizer != "sgd" or recipe.mixup or recipe.clip or recipe.average or recipe.accumulate > 1
    return GraphStep(trainer) if on_gpu and not decides else Step(trainer)


class Step:
    """A step on any device.  The loss and the gradients are looked at before the weights move."""

    def __init__(self, trainer):
        self.trainer, self.totals = trainer, [0.0, 0, 0]

    def __call__(self, batch):
        """One step of the optimiser; (loss · pictures, right answers, pictures) of the batch before it."""
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
            pullback(loss_pullback(scale * len(labels) / n))            # the parts' gradients add up to the batch's
            loss += float(value) * len(labels)
            right += int((logits.argmax(axis=1) == labels).sum())
        norm = gradient_norm(model.parameters()) / scale
        if precision.settle(norm < float("inf")):
            check_gradients(norm, model)
            self.move(norm, scale, recipe.rate(now, len(trainer.batches)))
        self.totals = [a + b for a, b in zip(self.totals, (loss, right, n))]
        return loss, right, n

    def move(self, norm, scale, rate):
        """The optimiser's step along the gradient, whose ``norm`` is known and which is ``scale`` times too large."""
        trainer, parameters = self.trainer, self.trainer.model.parameters()
        if scale != 1:
            scale_gradients(parameters, 1 / scale)
        if trainer.recipe.clip:
            clip_gradients(parameters, norm, trainer.recipe.clip)
        trainer.optimizer.step(rate)
        if trainer.average:
            trainer.average.update(trainer.model)


class GraphStep:
    """A step of SGD as one CUDA graph.  The host looks every LOOK steps, and when somebody asks for the totals."""

    def __init__(self, trainer):
        self.trainer = trainer
        self.step = CapturedStep(trainer.model, trainer.optimizer, trainer.precision, trainer.recipe.label_smoothing)
        self.totals = [0.0, 0, 0]

    def __call__(self, batch):
        trainer, steps = self.trainer, len(self.trainer.batches)
        if not self.made:
            self.first = trainer.step
        x, labels = on_device_of(trainer.model, batch)
        self.step(x, labels, trainer.recipe.rate(trainer.epoch * steps + trainer.step, steps))
        self.pictures, self.made = self.pictures + len(labels), self.made + 1
        if self.made % LOOK == 0:
            self.look()

    def look(self) -> list:
        """The sums, once the steps so far are done; TrainingError where one went wrong."""
        loss, right, good = self.step.sums.get().tolist()
        if loss - loss != 0:                                            # NaN
            self.explain(self.first + int(good))
        return [loss, int(right), self.pictures]

    totals = property(look)

    @totals.setter
    def totals(self, totals):
        *sums, self.pictures = totals
        self.step.sums[...] = self.step.xp.asarray([*sums, 0.0])
        self.made = 0

    def explain(self, step):
        """Raise what the host would have said in that step, by making it again: nothing has moved since."""
        trainer = self.trainer
        trainer.step = step
        with np.errstate(over="ignore", invalid="ignore"):
            Step(trainer)(next(iter(trainer.batches.epoch(trainer.epoch, step))))
        raise TrainingError(f"the loss or a gradient was not finite in step {step} of epoch {trainer.epoch + 1}, "
                            "but is when the step is made again: a fault of this GPU or of npresnet")
