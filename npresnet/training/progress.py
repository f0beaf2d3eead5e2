"""Callbacks that report the progress of a training run, and signals that stop it with a checkpoint."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from ..printer import console, say
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


class Log(Callback):
    """Prints one line for each epoch, by default on standard error."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr

    def epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        say(epoch_line(row, trainer.recipe.epochs), to=self.stream)


class ProgressBar(Log):
    """Draws a bar under the lines of the epochs, ten times a second at most: each time a GPU is waited for."""

    def __init__(self, bar: Any, task: Any) -> None:  # rich's Progress, and the number of a task of it
        super().__init__()  # standard error, which rich writes above its bar
        self.bar, self.task, self.due = bar, task, 0.0

    def batch(self, trainer: Run, images_per_second: float) -> None:
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + 0.1
        loss, right, n = trainer.totals
        per_epoch = len(trainer.batches)
        done, total = trainer.epoch * per_epoch + trainer.step, trainer.recipe.epochs * per_epoch
        left = (total - done) * trainer.recipe.batch_size / images_per_second
        self.bar.update(
            self.task,
            completed=done,
            total=total,
            description=(
                f"epoch {trainer.epoch + 1}  loss {loss / n:.3f}  accuracy {100 * right / n:.1f} %  "
                f"{images_per_second:.0f} images/s  {clock(left)} left"
            ),
        )


@contextmanager
def progress_callback() -> Iterator[Callback]:
    """A bar on a terminal, else a log, that stops at Ctrl-C and SIGTERM; a second Ctrl-C ends the process at once."""
    with display() as callback, stopped_by_signals(callback):
        yield callback


@contextmanager
def display() -> Iterator[Callback]:
    """A :class:`ProgressBar` where standard error is a terminal, else a :class:`Log`."""
    if not sys.stderr.isatty():
        yield Log()
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(), TextColumn("{task.description}"), console=console(stderr=True), transient=True) as bar:
        yield ProgressBar(bar, bar.add_task("starting", total=None))


@contextmanager
def stopped_by_signals(callback: Callback) -> Iterator[None]:
    """Inside this context Ctrl-C and SIGTERM set ``callback.stop``."""

    def stop(number, frame):
        if callback.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        callback.stop = number

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """An entry of the history as a line of text."""
    line = (
        f"{time.strftime('%H:%M:%S')}  epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}  "
        f"accuracy {100 * row['train_accuracy']:.2f} %"
    )
    if "validation_accuracy" in row:
        line += f"  validation {row['validation_loss']:.4f}  {100 * row['validation_accuracy']:.2f} %"
    return f"{line}  {row['images_per_second']:.0f} images/s"


def clock(seconds: float) -> str:
    """75 → 1:15;  4000 → 1:06:40"""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
