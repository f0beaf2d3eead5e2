"""What a Trainer shows to the parts that work for it: the steps, the callbacks, and the checkpoints."""

from typing import Any, NamedTuple, Protocol

from ..data.batches import Batches
from ..data.dataset import Dataset
from ..distributed import Communicator
from ..models.classifier import Classifier
from .ema import EMA
from .optim import Optimizer
from .precision import Precision
from .recipes import Recipe


class Totals(NamedTuple):
    """Sums over the steps of an epoch so far."""

    loss: float = 0.0  # Σ loss · images
    right: int = 0  # right answers
    images: int = 0

    def plus(self, more: "Totals") -> "Totals":
        """The sums over these steps and more."""
        return Totals(self.loss + more.loss, self.right + more.right, self.images + more.images)


class Run(Protocol):
    """A training run; :class:`.trainer.Trainer` is one."""

    model: Classifier
    recipe: Recipe
    seed: int
    communicator: Communicator
    train: Dataset
    validation: Dataset | None
    batches: Batches  # of ``train``
    precision: Precision
    optimizer: Optimizer
    ema: EMA | None  # where the recipe wants an average
    epoch: int  # finished epochs
    step: int  # finished steps of the epoch under way
    history: list[dict[str, Any]]  # a row for each finished epoch
    about: dict[str, Any]  # what the checkpoints keep for the caller

    @property
    def totals(self) -> Totals: ...  # of the epoch under way

    @totals.setter
    def totals(self, totals: Totals) -> None: ...

    def settings(self) -> dict[str, Any]: ...
