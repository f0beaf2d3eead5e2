"""The progress of a training run on standard error, and signals that stop it with a checkpoint."""

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap
from typing import Any, TextIO

from ..backend import compiler
from ..printer import progress_bar, say
from .callbacks import Callback, Callbacks
from .health import failure
from .run import Run

LINE_EVERY, COMPILING_EVERY = 30.0, 15.0  # seconds between lines inside an epoch, where there is no terminal
COMPILING = "compiling kernels for this machine: up to a minute, once"
STOPPING = "stopping after this step, whose kernels are being compiled; a second Ctrl-C ends at once"


class Log(Callback):
    """Prints a line for each epoch, by default on standard error, and now and then one inside an epoch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.last = time.monotonic()  # when a line was printed
        self.compiled_since: float | None = None
        self.told_to_stop = False

    def say(self, text: str) -> None:
        """Print one line, and on a terminal as many as it is wide."""
        width = shutil.get_terminal_size().columns - 1 if self.stream.isatty() else len(text) + 1
        say(*wrap(text, max(width, 20), subsequent_indent="  "), to=self.stream)
        self.last = time.monotonic()

    def epoch(self, trainer: Run, row: dict[str, Any]) -> None:
        self.say(epoch_line(row, trainer.recipe.epochs))
        if (text := failure(trainer)) is not None:
            self.say(f"warning: {text}")

    def batch(self, trainer: Run, images_per_second: float) -> None:
        if time.monotonic() >= self.last + LINE_EVERY:
            self.say(f"epoch {trainer.epoch + 1}, {step_text(trainer, images_per_second)}")

    def validation(self, trainer: Run, done: int, total: int) -> None:
        if time.monotonic() >= self.last + LINE_EVERY:
            self.say(f"epoch {trainer.epoch + 1}, validated on {done} of {total} images")

    def compiling(self, stop: int = 0) -> None:
        now = time.monotonic()
        if stop:
            if not self.told_to_stop:
                self.say(STOPPING)
            self.told_to_stop = True
        elif self.compiled_since is None:
            self.compiled_since = now
            self.say(COMPILING)
        elif now >= self.last + COMPILING_EVERY:
            self.say(f"still compiling, {now - self.compiled_since:.0f} s")


class ProgressBar(Log):
    """Draws a bar under the lines of the epochs, ten times a second at most: each time a GPU is waited for."""

    def __init__(self, bar: Any, task: Any) -> None:  # rich's Progress, and the number of a task of it
        super().__init__()  # standard error, which rich writes above its bar
        self.bar, self.task, self.due = bar, task, 0.0

    def batch(self, trainer: Run, images_per_second: float) -> None:
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + 0.1
        per_epoch = len(trainer.batches)
        self.bar.update(
            self.task,
            completed=trainer.epoch * per_epoch + trainer.step,
            total=trainer.recipe.epochs * per_epoch,
            description=f"epoch {trainer.epoch + 1}  {step_text(trainer, images_per_second)}",
        )

    def validation(self, trainer: Run, done: int, total: int) -> None:
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + 0.1
            text = f"epoch {trainer.epoch + 1}  validated on {done} of {total} images"
            self.bar.update(self.task, description=text)

    def compiling(self, stop: int = 0) -> None:
        self.bar.update(self.task, description=STOPPING if stop else COMPILING)


def step_text(trainer: Run, images_per_second: float) -> str:
    """Where a run stands inside an epoch: its loss and accuracy so far, its speed and the time that is left."""
    loss, right, n = trainer.totals
    steps = len(trainer.batches)
    left = (trainer.recipe.epochs - trainer.epoch) * steps - trainer.step
    seconds = left * trainer.recipe.batch_size / images_per_second
    return (
        f"loss {loss / n:.3f}  accuracy {100 * right / n:.1f} %  "
        f"{images_per_second:.0f} images/s  {clock(seconds)} left"
    )


@contextmanager
def progress_callback(*more: Callback) -> Iterator[Callback]:
    """A bar on a terminal, else a log, that stops at Ctrl-C and SIGTERM; a second Ctrl-C ends the process at once.

    ``more`` are callbacks that are called after it.
    """
    with display() as shown:
        callback = Callbacks(shown, *more)
        with compiler.listener(lambda: shown.compiling(callback.stop)), stopped_by_signals(callback):
            yield callback


@contextmanager
def display() -> Iterator[Callback]:
    """A :class:`ProgressBar` where standard error is a terminal, else a :class:`Log`."""
    if not sys.stderr.isatty():
        yield Log()
        return
    from rich.progress import BarColumn, TextColumn

    columns = BarColumn(bar_width=10), TextColumn("{task.description}")
    with progress_bar(*columns) as bar:
        yield ProgressBar(bar, bar.add_task("loading the first images and kernels", total=None))


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
        f"{time.strftime('%H:%M:%S')}  epoch {row['epoch']}/{epochs}  loss {loss_text(row['train_loss'])}  "
        f"accuracy {100 * row['train_accuracy']:.2f} %"
    )
    if "validation_accuracy" in row:
        line += f"  validation {loss_text(row['validation_loss'])}  {100 * row['validation_accuracy']:.2f} %"
    return f"{line}  {row['images_per_second']:.0f} images/s"


def loss_text(loss: float) -> str:
    """1.23456 → 1.2346;  7597895614.33 → 7.598e+09"""
    return f"{loss:.4f}" if loss < 1e4 else f"{loss:.3e}"


def clock(seconds: float) -> str:
    """75 → 1:15;  4000 → 1:06:40"""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
