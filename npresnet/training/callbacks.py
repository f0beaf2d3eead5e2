"""Callbacks: what a Trainer calls while it trains, and how it is asked to stop."""

import sys
from typing import Any

from ..printer import say_json
from .run import Run


class Stopped(KeyboardInterrupt):
    """The run was asked to stop and has written its checkpoint."""


class Callback:
    """A Trainer calls its methods after every batch and epoch, and ends when ``stop`` is a signal's number, not 0."""

    stop = 0

    def batch(self, trainer: Run, images_per_second: float) -> None:
        """Called after a batch; ``trainer`` is the Trainer."""

    def epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        """Called after an epoch; ``row`` is its entry in the history."""

    def validation(self, trainer: Run, done: int, total: int) -> None:
        """Called while an epoch is validated: ``done`` of ``total`` images are."""

    def compiling(self, stop: int = 0) -> None:
        """Called before a kernel is compiled, with ``stop`` as it is."""


class Callbacks(Callback):
    """Several callbacks as one."""

    def __init__(self, *parts: Callback) -> None:
        self.parts = parts

    def batch(self, trainer: Run, images_per_second: float) -> None:
        for part in self.parts:
            part.batch(trainer, images_per_second)

    def validation(self, trainer: Run, done: int, total: int) -> None:
        for part in self.parts:
            part.validation(trainer, done, total)

    def epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        for part in self.parts:
            part.epoch(trainer, row)


class JsonLines(Callback):
    """Prints each epoch's entry in the history as a JSON object, in one line on standard output."""

    def epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        say_json(row, indent=None)
        sys.stdout.flush()
