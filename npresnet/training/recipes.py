"""The training recipe: every choice of a training run, its default and its meaning, and recipes that work.

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385, §4.2
[G]  Goyal et al. 2017, Accurate, large minibatch SGD, arXiv:1706.02677
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from inspect import cleandoc
from numbers import Integral, Real
from textwrap import fill
from typing import Any, TypeVar

import numpy as np

from ..data.batches import AUGMENT, OF_PHOTOS, POLICIES
from ..data.preprocessing import PRESETS
from ..nn import GroupNorm, Module, freeze_batch_norm
from .losses import LOSSES
from .optim import LAMB, SGD, AdamW, Optimizer
from .precision import PRECISIONS
from .published import PUBLISHED
from .schedules import SCHEDULES, warm_up

Value = TypeVar("Value", int, float, str, bool)
Kind = TypeVar("Kind")

KINDS = {int: Integral, float: Real, bool: bool | np.bool_, str: str}
NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


def choice(default: Value, help: str, *, among: Iterable[str] = (), least: int = 0, below: int | None = None) -> Value:
    """A field of :class:`Recipe`: its default, its help text (the command line's too), and which values it may have.

    ``among`` lists the texts; a number is finite, at least ``least``, and smaller than ``below`` if that is given.
    """
    return field(default=default, metadata={"help": help, "among": tuple(among), "least": least, "below": below})


def described(kind: type[Kind]) -> type[Kind]:
    """The dataclass with each field's default and meaning at the end of its docstring."""
    texts = (f"{f'{f.name} = {f.default!r}':28}{f.metadata['help']}" for f in fields(kind))  # pyright: ignore
    lines = (fill(text, 116, subsequent_indent=" " * 28) for text in texts)
    kind.__doc__ = "\n".join([cleandoc(kind.__doc__ or ""), "", *lines])
    return kind


@described
@dataclass(frozen=True, repr=False)
class Recipe:
    """Everything that decides the weights, besides the model, the data and the seed.

    >>> Recipe(epochs=30, lr=0.4, schedule="one-cycle").batch_size
    128

    Raises ValueError, naming the field, for a value that cannot be.  Fields:
    """

    epochs: int = choice(10, "passes over the training images", least=1)
    batch_size: int = choice(128, "images in a step", least=1)
    lr: float = choice(0.1, "peak learning rate")
    schedule: str = choice(
        "steps",
        "how the learning rate changes over the run: constant, divided by ten in steps (at 1/2 and 3/4), thirds or "
        "quarters, cosine or one-cycle",
        among=SCHEDULES,
    )
    warmup: float = choice(0.0, "epochs in which the learning rate rises on a line")  # [G] §2.2
    warmup_start: float = choice(0.1, "the share of the rate from which it rises", below=1)
    optimizer: str = choice("sgd", "sgd, adamw or lamb", among=("sgd", "adamw", "lamb"))
    momentum: float = choice(0.9, "momentum of sgd", below=1)
    nesterov: bool = choice(False, "Nesterov's momentum for sgd")
    weight_decay: float = choice(1e-4, "λ, how strongly each weight is pulled to zero")
    decay_all: bool = choice(True, "apply weight decay to batch norms and biases too")
    loss: str = choice(
        "cross-entropy", "cross-entropy, or binary: each class by itself, by the sigmoid of its score", among=LOSSES
    )
    label_smoothing: float = choice(0.0, "share of each label that is spread over all classes", below=1)
    mixup: float = choice(0.0, "mix pairs of images with a share drawn from Beta(α, α), for this α; 0: do not mix")
    cutmix: float = choice(
        0.0,
        "replace a box of each image by another's, the share outside drawn from Beta(α, α), for this α; beside mixup "
        "each in half of the steps; 0: do not",
    )
    clip: float = choice(0.0, "largest norm of the gradient; 0: no limit")
    average: float = choice(
        0.0, "decay of an exponential moving average (EMA) of the weights, such as 0.999; 0: none", below=1
    )
    accumulate: int = choice(
        1,
        "parts that a batch is computed in, to save memory; a batch norm takes its statistics "
        "from one part, so that the numbers change",
        least=1,
    )
    sync_batch_norm: bool = choice(
        True,
        "where ranks share a batch, let a batch norm take its statistics from all of it, as in one process; without, "
        "each from its own share, as --accumulate has them",
    )
    half_sums: bool = choice(
        False, "where ranks share a batch, add up their gradients in 16 bits: half of the bytes to send, and rounding"
    )
    augment: str = choice(
        "crop-flip",
        "crop-flip (small images), photo (random resized crop and flip), scale (random scale, crop and flip) or none",
        among=AUGMENT,
    )
    train_side: int = choice(0, "side of the images that photo and scale make; 0: as for a prediction")
    policy: str = choice(
        "none",
        "further random changes of each image: trivial (TrivialAugment: one of any strength), rand (RandAugment: up to "
        "two, of strength 6) or none",
        among=POLICIES,
    )
    erase: float = choice(0.0, "share of the images in which a random rectangle is erased", below=1)
    jitter: float = choice(0.0, "largest share by which brightness, contrast and saturation change")
    preprocessing: str = choice(
        "",
        "how images are prepared for validation and prediction, such as imagenet-v2; empty: as the network says",
        among=("", *PRESETS),
    )
    precision: str = choice(
        "float32",
        "float32; on a GPU also tf32, float16 or bfloat16; on a CPU int8: the network learns to be quantized",
        among=PRECISIONS,
    )
    weight_bits: int = choice(8, "of quantized weights, with precision int8: 2 to 8", least=2, below=9)
    freeze: str = choice(
        "nothing",
        "what is not trained: nothing, norm (batch norms), trunk (all but the last layer)",
        among=("nothing", "norm", "trunk"),
    )
    held_out: float = choice(0.1, "share of the training images kept for validation; from 1 on their number")

    def __post_init__(self) -> None:
        for declared in fields(self):
            value = getattr(self, declared.name)
            check_kind(declared, value)
            object.__setattr__(self, declared.name, value.item() if isinstance(value, np.generic) else value)
        for declared in fields(self):
            check_value(declared, getattr(self, declared.name))
        if self.train_side and self.augment not in OF_PHOTOS:
            raise ValueError(
                f"train_side is for augment {' or '.join(OF_PHOTOS)}: {self.augment} keeps the images' size"
            )

    def __repr__(self) -> str:
        """The call that makes it: of the named recipe, or of :class:`Recipe`, that needs the fewest changes."""
        starts = {"Recipe(": Recipe(), **{f"recipe({name!r}, ": known for name, known in RECIPES.items()}}
        calls = {start: changes(known, self) for start, known in starts.items()}
        start = min(calls, key=lambda start: len(calls[start]))
        return (start + ", ".join(calls[start])).removesuffix(", ") + ")"

    def make_optimizer(self, model: Module) -> Optimizer:
        """The optimizer of the model's trainable parameters."""
        if self.optimizer == "adamw":
            return AdamW(model, weight_decay=self.weight_decay, decay_all=self.decay_all)
        if self.optimizer == "lamb":
            return LAMB(model, weight_decay=self.weight_decay, decay_all=self.decay_all)
        return SGD(model, self.momentum, self.nesterov, self.weight_decay, self.decay_all)

    def augmentation(self) -> dict[str, Any]:
        """The arguments of :func:`npresnet.data.gpu_batches.batches_for` that say how images are changed."""
        same = {name: getattr(self, name) for name in ("augment", "jitter", "policy", "erase")}
        return {**same, "side": self.train_side}

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted over the whole run."""
        factor = SCHEDULES[self.schedule](step, self.epochs * steps_per_epoch)
        return self.lr * factor * warm_up(step, self.warmup * steps_per_epoch, self.warmup_start)


ADDED_LATER = {  # fields that older checkpoints lack, and what their runs did
    "precision": "float32",
    "sync_batch_norm": True,
    "half_sums": False,
    "weight_bits": 8,
    **dict.fromkeys(("cutmix", "erase"), 0.0),
    **{"loss": "cross-entropy", "train_side": 0, "policy": "none", "warmup_start": 0.1, "preprocessing": ""},
}


def check_kind(declared: Any, value: Any) -> None:
    """Raise ValueError for a value of another type than its field's."""
    truth = isinstance(value, bool | np.bool_)  # a bool is an int to Python
    if not isinstance(value, KINDS[declared.type]) or (truth and declared.type is not bool):
        raise ValueError(f"{declared.name} must be {NAMES[declared.type]}, not {value!r}")


def check_value(declared: Any, value: Any) -> None:
    """Raise ValueError for a value outside the choices or bounds of its field."""
    name, among, least, below = declared.name, *(declared.metadata[key] for key in ("among", "least", "below"))
    if among and value not in among:
        raise ValueError(f"{name} is one of {', '.join(among)}, not {value!r}")
    if isinstance(value, str):
        return
    if least and value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of at least 0, not {value}")
    if below is not None and value >= below:
        raise ValueError(f"{name} must lie below {below}, not at {value}")


RECIPES = {
    # [R1]: 64k iterations of 128 on 45k/5k images, divided by 10 at 32k and 48k.  ResNet-110 wants warmup=1; [R1]
    # holds it at a tenth of the rate until the training error falls below 80 %.
    "paper-cifar": Recipe(epochs=182),
    # More from fewer epochs: a one-cycle schedule, Nesterov's momentum, weight decay only for weights of several axes.
    # The rate trained the network that ships, in 40 epochs (weights/README.md).
    "fast-cifar": Recipe(epochs=30, lr=0.2, schedule="one-cycle", nesterov=True, weight_decay=5e-4, decay_all=False),
    # Photos, from pretrained weights: a low learning rate; batch norms keep the statistics of the large data set.
    "finetune": Recipe(
        epochs=10, batch_size=32, lr=0.01, schedule="cosine", warmup=0.5, nesterov=True, augment="photo", freeze="norm"
    ),
    # A folder of photos, from random weights: torchvision's rate, 0.1 for 256 images, for a batch of 32.  [G] §2.1
    "photos": Recipe(epochs=90, batch_size=32, lr=0.0125, schedule="cosine", warmup=5, nesterov=True, augment="photo"),
    **{name: Recipe(**changes) for name, changes in PUBLISHED.items()},
}


def changes(known: Recipe, new: Recipe) -> list[str]:
    """The fields in which ``new`` differs, as arguments of a call."""
    pairs = ((f.name, getattr(known, f.name), getattr(new, f.name)) for f in fields(Recipe))
    return [f"{name}={value!r}" for name, before, value in pairs if value != before]


def freeze(model: Module, what: str) -> None:
    """Stop training parts of a model: "nothing"; "norm", its batch norms; or "trunk", all but the last layer.

    Raises ValueError for "norm" where the norms are group norms.
    """
    groups = any(isinstance(part, GroupNorm) for part in model.modules())
    if what == "norm" and groups:
        raise ValueError(
            'freeze="norm" keeps the statistics of batch norms, and this network has group norms; use freeze="nothing"'
        )
    if what != "nothing" and not groups:
        freeze_batch_norm(model)
    if what == "trunk":
        for name, parameter in model.named_parameters():
            parameter.trainable = name.startswith("fc.")


def recipe(name: str, **changes: Any) -> Recipe:
    """One of :data:`RECIPES`, with some fields changed.

    >>> recipe("fast-cifar", epochs=5).schedule
    'one-cycle'
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    return replace(RECIPES[name], **changes)
