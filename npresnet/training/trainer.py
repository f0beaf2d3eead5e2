"""The training loop: batches and steps; and after each epoch the validation and a checkpoint."""

import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..backend import backend_of
from ..data.gpu_batches import batches_for
from ..weights import save_weights
from .checkpoint import BEST, FINAL, clear_leftovers, save_checkpoint, write_metrics
from .ema import Average
from .lock import locked
from .precision import make_precision
from .predict import judged
from .progress import Stopped, Watch
from .recipes import freeze
from .start import check_start
from .step import make_step


class Trainer:
    """A model, its data, a recipe and a seed: together they decide every weight.

    ``update(batch)`` makes a step (see steps.py).  ``epoch`` and ``step`` (inside the epoch) say what comes next,
    ``totals`` what the epoch has summed so far and ``history`` one row for each finished epoch, to which
    ``probe(trainer)`` may add.  ``about`` is kept in the checkpoints beside them.
    """

    def __init__(self, model, recipe, train, validation=None, *, seed=0, workers=2, about=None, probe=None):
        self.model, self.recipe, self.seed, self.about, self.probe = model, recipe, seed, about or {}, probe
        self.train, self.validation = train, validation if validation is not None and len(validation) else None
        self.batches = batches_for(model, train, recipe.batch_size, recipe.augment, jitter=recipe.jitter, seed=seed,
                                   workers=workers)
        self.held_out = self.validation and batches_for(model, self.validation, recipe.batch_size, workers=workers)
        freeze(model, recipe.freeze)
        check_start(model, recipe, train, self.batches.preprocessing.crop)
        self.precision = make_precision(recipe.precision, model)
        self.optimizer = recipe.make_optimizer(model)
        self.average = Average(model, recipe.average) if recipe.average else None
        self.epoch, self.step, self.history, self.update = 0, 0, [], make_step(self)

    def settings(self) -> dict:
        """What must be equal for a run to go on from a checkpoint."""
        first = next(iter(self.model.parameters())).value
        return {"model": str(self.model.spec), "data": self.train.fingerprint(),
                "contents": self.train.contents_fingerprint(), "seed": self.seed, "backend": backend_of(first),
                "dtype": str(first.dtype), **asdict(self.recipe)}

    @property
    def totals(self) -> list:
        """[loss · images, right answers, images] of the epoch so far."""
        return self.update.totals

    @totals.setter
    def totals(self, totals):
        self.update.totals = totals

    def fit(self, out=None, watch=None):
        """Train to the end and return the history; with a folder ``out``, leave a checkpoint after every epoch.

        Raises Stopped, the checkpoint written, once ``watch.stop`` is set; TrainingError on NaN or infinity;
        BlockingIOError where another run is at work in ``out``.
        """
        with locked(out) if out else nullcontext():
            return self.fit_alone(out, watch or Watch())

    def fit_alone(self, out, watch):
        if out:
            clear_leftovers(out)
            save_checkpoint(self, out)                                  # a disk that is full shows before the work
            write_metrics(self.history, out)
        with np.errstate(over="ignore", invalid="ignore"):              # update() looks for both, and says where
            while self.epoch < self.recipe.epochs:
                self.run_epoch(out, watch)
        if out:
            save_weights(self.learned(), Path(out) / FINAL)
        return self.history

    def run_epoch(self, out, watch):
        self.model.train()
        started, seen = time.perf_counter(), 0
        for batch in self.batches.epoch(self.epoch, self.step):
            self.update(batch)
            self.step, seen = self.step + 1, seen + len(batch.labels)
            watch.batch(self, seen / (time.perf_counter() - started))
            if watch.stop:
                if out:
                    save_checkpoint(self, out)
                raise Stopped(watch.stop)
        totals = self.totals                                            # on a GPU this waits for the last step
        self.end_epoch(totals, out, watch, seen / max(time.perf_counter() - started, 1e-9))

    def end_epoch(self, totals, out, watch, speed):
        loss, right, n = totals
        row = {"epoch": self.epoch + 1, "lr": self.recipe.rate((self.epoch + 1) * len(self.batches) - 1,
                                                              len(self.batches)),
               "train_loss": loss / n, "train_accuracy": right / n, "images_per_second": round(speed, 1)}
        if self.validation:
            row |= {f"validation_{key}": value for key, value in self.score().items()}
        if self.probe:
            row |= self.probe(self)
        best = max((past.get("validation_accuracy", -1) for past in self.history), default=-1)
        self.history = [*self.history, row]
        self.epoch, self.step, self.totals = self.epoch + 1, 0, [0.0, 0, 0]
        if out:
            if row.get("validation_accuracy", 0) > best:                # without validation the last is the best
                save_weights(self.learned(), Path(out) / BEST)
            save_checkpoint(self, out)
            write_metrics(self.history, out)
        watch.epoch(self, row)

    def learned(self):
        """The model to use: of the averaged weights where they are kept."""
        return (self.average.model(self.model) if self.average else self.model).eval()

    def score(self):
        """{"loss", "accuracy"} of the learned model on the validation images."""
        loss, predicted = judged(self.learned(), self.held_out)
        return {"loss": loss, "accuracy": float((predicted == self.validation.labels).mean())}
