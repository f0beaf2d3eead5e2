"""What there is to choose in a training run, and three choices that work.

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385, §4.2
[G]  Goyal et al. 2017, Accurate, large minibatch SGD, arXiv:1706.02677
"""

from dataclasses import dataclass, fields, replace
from numbers import Integral, Real

import numpy as np

from ..data.batches import AUGMENT
from ..nn import freeze_batch_norm
from .optim import SGD, AdamW
from .precision import PRECISIONS
from .schedules import SCHEDULES, warm_up

OPTIMIZERS = ("sgd", "adamw")
FREEZE = ("nothing", "norm", "trunk")
KINDS = {int: Integral, float: Real, bool: bool | np.bool_, str: str}
NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, besides the model, the data and the seed."""

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.1                 # the peak of the schedule
    schedule: str = "steps"         # constant, steps, cosine or one-cycle, over all steps of the run
    warmup: float = 0.0             # epochs over which the rate rises from a tenth on a line, besides     [G] §2.2
    optimizer: str = "sgd"          # sgd or adamw
    momentum: float = 0.9           # of sgd
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_all: bool = True          # False: batch norms and biases are not decayed
    label_smoothing: float = 0.0
    mixup: float = 0.0              # α of the Beta(α, α) that the mixing share is drawn from; 0: none
    clip: float = 0.0               # the largest norm of the gradient; 0: any
    average: float = 0.0            # decay of the moving average of the weights, such as 0.999; 0: none
    accumulate: int = 1             # a batch goes through in so many parts, whose gradients add up;
                                    # a batch norm takes its statistics from one part
    augment: str = "crop-flip"      # crop-flip (small images), photo (random resized crop and flip) or none
    jitter: float = 0.0             # brightness, contrast and saturation change by up to this share
    precision: str = "float32"      # float32; tf32 products on a GPU; float16 or bfloat16 between layers
    freeze: str = "nothing"         # "norm": batch norms keep their statistics; "trunk": only the head learns
    held_out: float = 5000          # training images kept for validation: their number, or below 1 their share

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            truth = isinstance(value, bool | np.bool_)                  # a bool is an int to Python
            if not isinstance(value, KINDS[field.type]) or (truth and field.type is not bool):
                raise ValueError(f"{field.name} must be {NAMES[field.type]}, not {value!r}")
            object.__setattr__(self, field.name, value.item() if isinstance(value, np.generic) else value)
        choices = {"schedule": SCHEDULES, "optimizer": OPTIMIZERS, "augment": AUGMENT, "freeze": FREEZE,
                   "precision": PRECISIONS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str) and not 0 <= value < float("inf"):
                raise ValueError(f"{field.name} must be a number of at least 0, not {value}")
        for name in ("label_smoothing", "average", "momentum"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must lie below 1, not at {getattr(self, name)}")

    def make_optimizer(self, model):
        if self.optimizer == "adamw":
            return AdamW(model, weight_decay=self.weight_decay, decay_all=self.decay_all)
        return SGD(model, self.momentum, self.nesterov, self.weight_decay, self.decay_all)

    def rate(self, step, steps_per_epoch) -> float:
        """The learning rate of a step, counted over the whole run."""
        factor = SCHEDULES[self.schedule](step, self.epochs * steps_per_epoch)
        return self.lr * factor * warm_up(step, self.warmup * steps_per_epoch)


RECIPES = {
    # [R1]: 64k iterations of 128 on 45k/5k images, divided by 10 at 32k and 48k.  ResNet-110 wants warmup=1; [R1]
    # holds it at a tenth of the rate until the training error falls below 80 %.
    "paper-cifar": Recipe(epochs=182),
    # More from fewer epochs: the rate swings up and back once, Nesterov's step, decay where it helps.
    "fast-cifar": Recipe(epochs=30, lr=0.4, schedule="one-cycle", nesterov=True, weight_decay=5e-4, decay_all=False),
    # Photos on trained weights: a small rate, and the statistics of the large dataset kept.
    "finetune": Recipe(epochs=10, batch_size=32, lr=0.01, schedule="cosine", warmup=0.5, nesterov=True,
                       augment="photo", freeze="norm", held_out=0.1),
}


def freeze(model, what):
    """"norm": batch norms keep their statistics and weights;  "trunk": so does everything but the head."""
    if what != "nothing":
        freeze_batch_norm(model)
    if what == "trunk":
        for name, box in model.named_parameters():
            box.trainable = name.startswith("fc.")


def recipe(name, **changes) -> Recipe:
    """One of :data:`RECIPES`, with some choices changed."""
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    return replace(RECIPES[name], **changes)
