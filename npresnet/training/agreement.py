"""Whether all ranks train the same: compared by hashes before the first step, and the weights after every epoch."""

import hashlib
from typing import Any

from .. import __version__
from ..backend import to_device
from ..distributed import Communicator
from ..nn import Module
from .gradients import TrainingError
from .run import Run


def check_agreement(run: Run, communicator: Communicator) -> None:
    """Raise ValueError, with every difference from rank 0, where a rank starts with something else."""
    if communicator.size == 1:
        return
    own = {
        "version": __version__,
        **run.settings(),
        "epoch": run.epoch,
        "step": run.step,
        "weights": weights_hash(run.model)[:12],
    }
    first, *others = communicator.all_gather(own)
    lines = [line for rank, other in enumerate(others, 1) for line in differences(first, rank, other)]
    if lines:
        raise ValueError("the ranks must start alike:\n" + "\n".join(lines))


def differences(first: dict[str, Any], rank: int, other: dict[str, Any]) -> list[str]:
    """A line for everything in which a rank differs from rank 0."""
    return [
        f"{key}: {other.get(key)} on rank {rank}, {first.get(key)} on rank 0"
        for key in {**first, **other}
        if first.get(key) != other.get(key)
    ]


def check_weights(model: Module, communicator: Communicator, epoch: int) -> None:
    """Raise TrainingError where the ranks' weights are not the same bits after an epoch."""
    if communicator.size == 1:
        return
    first, *others = communicator.all_gather(weights_hash(model))
    odd = [str(rank) for rank, other in enumerate(others, 1) if other != first]
    if odd:
        raise TrainingError(
            f"after epoch {epoch} the weights of rank {', '.join(odd)} are not those of rank 0: a fault of that "
            "machine's memory or processor, or of the network between them; resume from the last checkpoint"
        )


def weights_hash(model: Module) -> str:
    """SHA-256 of all arrays' bytes, by their keys."""
    check = hashlib.sha256()
    for key, array in model.state_dict().items():
        check.update(key.encode())
        check.update(to_device(array, "cpu").tobytes())
    return check.hexdigest()
