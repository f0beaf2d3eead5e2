"""Whether validation says that a run has failed, and what to do."""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np

from .run import Run

LOST, FAR = 1000, 10  # times the loss of guessing: at once, and PATIENCE epochs long
PATIENCE = (
    3  # as the running statistics of batch norms follow the weights only after some steps, a first epoch may be bad
)


def failure(trainer: Run) -> str | None:
    """A line that says how the last epoch's validation shows a failure, with the cure; None where nothing new does."""
    history, validation = trainer.history, trainer.validation
    if validation is None:
        return None
    shares = np.bincount(validation.labels) / len(validation)
    chance, guess = float(shares.max()), log(max(2, trainer.model.spec.num_classes))
    found = [symptom(history[: k + 1], chance, guess) for k in range(len(history))]
    if not found or not found[-1] or any(found[:-1]):  # said once is enough
        return None
    return (
        f"{found[-1]}: the run has probably failed; start again with a lower --lr, such as {trainer.recipe.lr / 10:g}"
    )


def symptom(history: Sequence[dict[str, Any]], chance: float, guess: float) -> str | None:
    """What is wrong after the last of these epochs: guessing is right with ``chance`` and has the loss ``guess``."""
    losses = [row["validation_loss"] for row in history[-PATIENCE:]]
    accuracies = [row["validation_accuracy"] for row in history[-PATIENCE:]]
    enough = len(losses) == PATIENCE
    if not losses[-1] <= LOST * guess or (enough and min(losses) > FAR * guess):  # or not a number
        return f"validation loss {losses[-1]:.4g}, where guessing has {guess:.2f}"
    if enough and max(accuracies) <= chance:
        return f"validation accuracy {100 * accuracies[-1]:.1f} %, no better than a guess, in {PATIENCE} epochs"
    return None
