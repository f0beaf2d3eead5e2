"""The history of a run as scalars for TensorBoard (``pip install 'npresnet[tensorboard]'``)."""

import os
from importlib import import_module
from typing import Any

from .callbacks import Callback
from .run import Run

FOLDER = "tensorboard"  # in the folder of a run


class TensorBoard(Callback):
    """Writes each epoch's numbers into ``folder`` as it comes.

    A run that was stopped goes on in the same curves.  Raises ImportError where no writer is installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder, self.make, self.writer = os.fspath(folder), summary_writer(), None

    def epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        if self.writer is None:  # now, as a command that fails before leaves no folder
            self.writer = self.make(self.folder, purge_step=row["epoch"])  # of a killed run's epoch that comes again
        for key, value in row.items():
            part, _, what = key.partition("_")
            if key != "epoch" and isinstance(value, int | float):
                known = part in ("train", "validation")
                self.writer.add_scalar(f"{what}/{part}" if known else key, value, row["epoch"])
        self.writer.flush()  # a killed run loses nothing


def summary_writer() -> Any:
    """The class SummaryWriter of tensorboardX, or else PyTorch's."""
    for module in ("tensorboardX", "torch.utils.tensorboard"):
        try:
            return import_module(module).SummaryWriter
        except ImportError:
            continue
    raise ImportError("logs for TensorBoard need a writer: pip install 'npresnet[tensorboard]'")
