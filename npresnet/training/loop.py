"""The training loop: batches, loss, pullback, step; and after each epoch the validation and a checkpoint."""

import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..backend import backend_of
from ..data import recipe_of
from ..data.augment import mix_up
from ..weights import save_weights
from .average import Average
from .batches import Batches
from .checkpoint import BEST, FINAL, clear_leftovers, save_checkpoint, write_metrics
from .gradients import check_gradients, check_loss, clip_gradients, gradient_norm, scale_gradients
from .objective import cross_entropy, mixing_share
from .precision import make_precision
from .predict import on_device_of, predict
from .recipes import freeze
from .watch import Stopped, Watch


class Trainer:
    """A model, its data, a recipe and a seed: together they decide every weight.

    ``epoch`` and ``step`` (inside the epoch) say what comes next, ``totals`` what the epoch has summed so far and
    ``history`` one row for each finished epoch, to which ``probe(trainer)`` may add.  ``about`` is kept in the
    checkpoints beside them.
    """

    def __init__(self, model, recipe, train, validation=None, *, seed=0, workers=2, about=None, probe=None):
        self.model, self.recipe, self.seed, self.about, self.probe = model, recipe, seed, about or {}, probe
        self.train, self.validation = train, validation if validation is not None and len(validation) else None
        self.batches = Batches(train, recipe_of(model), recipe.batch_size, recipe.augment, jitter=recipe.jitter,
                               seed=seed, workers=workers)
        freeze(model, recipe.freeze)
        self.precision = make_precision(recipe.precision, model)
        self.optimizer = recipe.make_optimizer(model)
        self.average = Average(model, recipe.average) if recipe.average else None
        self.epoch, self.step, self.totals, self.history = 0, 0, [0.0, 0, 0], []

    def settings(self) -> dict:
        """What must be equal for a run to go on from a checkpoint."""
        first = next(iter(self.model.parameters())).value
        return {"model": str(self.model.spec), "data": self.train.fingerprint(), "seed": self.seed,
                "backend": backend_of(first), "dtype": str(first.dtype), **asdict(self.recipe)}

    def update(self, batch):
        """One step of the optimiser; (loss, right answers, pictures) of the batch before it."""
        model, recipe, now = self.model, self.recipe, self.epoch * len(self.batches) + self.step
        share = mixing_share(recipe.mixup, self.seed, now)
        loss, right, n, scale = 0.0, 0, len(batch.labels), self.precision.scale
        model.zero_grad()
        for part in batch.parts(recipe.accumulate):
            x, labels = on_device_of(model, part)
            x = mix_up(x, share) if recipe.mixup else x
            logits, pullback = self.precision.logits_vjp(x)
            value, loss_pullback = cross_entropy(logits, labels, share, recipe.label_smoothing)
            check_loss(float(value), model, x)
            pullback(loss_pullback(scale * len(labels) / n))            # the parts' gradients add up to the batch's
            loss += float(value) * len(labels)
            right += int((logits.argmax(axis=1) == labels).sum())
        norm = gradient_norm(model.parameters()) / scale
        if self.precision.settle(norm < float("inf")):
            check_gradients(norm, model)
            self.move(norm, scale, recipe.rate(now, len(self.batches)))
        return loss, right, n

    def move(self, norm, scale, rate):
        """The optimiser's step along the gradient, whose ``norm`` is known and which is ``scale`` times too large."""
        if scale != 1:
            scale_gradients(self.model.parameters(), 1 / scale)
        if self.recipe.clip:
            clip_gradients(self.model.parameters(), norm, self.recipe.clip)
        self.optimizer.step(rate)
        if self.average:
            self.average.update(self.model)

    def fit(self, out=None, watch=None):
        """Train to the end and return the history; with a folder ``out``, leave a checkpoint after every epoch.

        Raises Stopped, the checkpoint written, once ``watch.stop`` is set; TrainingError on NaN or infinity.
        """
        watch = watch or Watch()
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
            done = self.update(batch)
            self.totals, self.step = [a + b for a, b in zip(self.totals, done)], self.step + 1
            seen += done[2]
            watch.batch(self, seen / (time.perf_counter() - started))
            if watch.stop:
                if out:
                    save_checkpoint(self, out)
                raise Stopped(watch.stop)
        self.end_epoch(out, watch, seen / max(time.perf_counter() - started, 1e-9))

    def end_epoch(self, out, watch, speed):
        loss, right, n = self.totals
        row = {"epoch": self.epoch + 1, "lr": self.recipe.rate((self.epoch + 1) * len(self.batches) - 1,
                                                              len(self.batches)),
               "train_loss": loss / n, "train_accuracy": right / n, "images_per_second": round(speed, 1)}
        if self.validation:
            row |= {f"validation_{key}": value for key, value in self.score(self.validation).items()}
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

    def score(self, source):
        """{"loss", "accuracy"} of the learned model."""
        loss, predicted = predict(self.learned(), source, self.recipe.batch_size)
        return {"loss": loss, "accuracy": float((predicted == source.labels).mean())}
