"""Whether validation says that a run has failed, and what to do."""

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np

from .run import Run

FAR = 10  # times the loss of guessing: no run recovers, or it would have to learn from the start
PATIENCE = 3  # epochs at chance


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
    loss, recent = history[-1]["validation_loss"], history[-PATIENCE:]
    if not loss <= FAR * guess:  # or not a number
        return f"validation loss {loss:.4g}, where guessing has {guess:.2f}"
    if len(recent) == PATIENCE and all(row["validation_accuracy"] <= chance for row in recent):
        return f"validation accuracy {100 * recent[-1]['validation_accuracy']:.1f} %, no better than a guess"
    return None
