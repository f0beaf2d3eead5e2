"""Who looks on while a model trains: nobody, a log, or a terminal.  And the signals that end it well."""

import signal
import sys
import time
from contextlib import contextmanager

from ..printer import console, say


class Stopped(KeyboardInterrupt):
    """The run was asked to stop and has written its checkpoint."""


class Watch:
    """Told of every batch and epoch; ``stop`` becomes the number of the signal that asks the run to end."""

    stop = 0

    def batch(self, trainer, images_per_second):
        pass

    def epoch(self, trainer, row):
        pass


class Log(Watch):
    """One line for each epoch."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr

    def epoch(self, trainer, row):
        say(epoch_line(row, trainer.recipe.epochs), to=self.stream)


class Terminal(Log):
    """A bar under the lines of the epochs.  It moves ten times a second, because a GPU must be waited for to look."""

    def __init__(self, bar, task):
        super().__init__()                                   # standard error, which rich writes above its bar
        self.bar, self.task, self.due = bar, task, 0.0

    def batch(self, trainer, images_per_second):
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + 0.1
        loss, right, n = trainer.totals
        per_epoch = len(trainer.batches)
        done, total = trainer.epoch * per_epoch + trainer.step, trainer.recipe.epochs * per_epoch
        left = (total - done) * trainer.recipe.batch_size / images_per_second
        self.bar.update(self.task, completed=done, total=total, description=(
            f"epoch {trainer.epoch + 1}  loss {loss / n:.3f}  accuracy {100 * right / n:.1f} %  "
            f"{images_per_second:.0f} images/s  {clock(left)} left"))


@contextmanager
def watching():
    """A Watch that fits standard error, whose ``stop`` follows Ctrl-C and SIGTERM; a second Ctrl-C ends at once."""
    with display() as watch, stopped_by_signals(watch):
        yield watch


@contextmanager
def display():
    if not sys.stderr.isatty():
        yield Log()
        return
    from rich.progress import BarColumn, Progress, TextColumn
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console(stderr=True), transient=True) as bar:
        yield Terminal(bar, bar.add_task("starting", total=None))


@contextmanager
def stopped_by_signals(watch):
    def stop(number, frame):
        if watch.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        watch.stop = number

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def epoch_line(row, epochs):
    line = (f"{time.strftime('%H:%M:%S')}  epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {100 * row['train_accuracy']:.2f} %")
    if "validation_accuracy" in row:
        line += f"  validation {row['validation_loss']:.4f}  {100 * row['validation_accuracy']:.2f} %"
    return f"{line}  {row['images_per_second']:.0f} images/s"


def clock(seconds):
    """75 → 1:15;  4000 → 1:06:40"""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
