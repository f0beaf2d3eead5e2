"""The training loop: an epoch's steps, then validation, weights and a checkpoint."""

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import backend_of
from ..data.dataset import Dataset
from ..data.gpu_batches import batches_for
from ..data.share import Share, portion
from ..distributed import Alone, Communicator
from ..models.classifier import Classifier
from ..nn import Module, synchronize_batch_norm
from ..weights import save_weights
from .agreement import check_agreement, check_weights
from .callbacks import Callback, Stopped
from .checkpoint import BEST, FINAL, Folder, clear_leftovers, save_checkpoint, write_metrics
from .cuda_step import GraphStep
from .ema import EMA
from .evaluate import evaluate_batches
from .lock import locked
from .meter import Meter
from .precision import make_precision
from .recipes import Recipe, freeze
from .run import Totals
from .shared_step import SharedStep
from .start import check_start
from .step import Step


class Trainer:
    """A training run: a model, its data, a recipe and a seed, which together decide every weight.

    model       a network of the family; it is trained in place
    train       the images to train on;  validation  those that decide which weights are best, if any
    workers     threads that prepare batches; they change nothing but the speed
    about       kept in the checkpoints, for the caller
    probe       a function of the trainer, called after each epoch; its dict is added to that row of the history
    communicator  the ranks that share every batch; rank 0 alone writes files

    ``update(batch)`` makes one step.  ``epoch`` and ``step`` (inside the epoch) say what comes next, ``totals`` are
    the sums over the epoch's batches so far; ``history`` has one row for each finished epoch.

    Raises ValueError where the data does not fit the model.
    """

    def __init__(
        self,
        model: Classifier,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        seed: int = 0,
        workers: int = 2,
        about: dict[str, Any] | None = None,
        probe: Callable[["Trainer"], dict[str, Any]] | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        self.communicator = ranks = communicator or Alone()
        self.model, self.recipe, self.seed, self.about, self.probe = model, recipe, seed, about or {}, probe
        self.train, self.validation = train, validation if validation is not None and len(validation) else None
        model.preprocessing = recipe.preprocessing or model.preprocessing
        how: dict[str, Any] = recipe.augmentation() | {"share": Share(ranks.rank, ranks.size, recipe.accumulate)}
        self.batches = batches_for(model, train, recipe.batch_size, seed=seed, workers=workers, **how)
        self.validation_batches = None
        if self.validation is not None:
            own = self.validation.subset(portion(len(self.validation), ranks.rank, ranks.size))
            self.validation_batches = batches_for(model, own, recipe.batch_size, workers=workers)
        freeze(model, recipe.freeze)
        check_start(model, recipe, train, self.batches.preprocessing.crop, ranks.size)
        synchronize_batch_norm(model, ranks if recipe.sync_batch_norm else None)
        several = ranks if ranks.size > 1 else None
        self.precision = make_precision(recipe.precision, model, several, weight_bits=recipe.weight_bits)
        self.optimizer = recipe.make_optimizer(model)
        self.ema = EMA(model, recipe.average) if recipe.average else None
        self.epoch, self.step, self.meter = 0, 0, Meter()
        self.saved, self.checkpoint_seconds = 0.0, float("inf")
        self.history: list[dict[str, Any]] = []
        self.update: Step | GraphStep = self._make_step()

    def _make_step(self) -> Step | GraphStep:
        """As a CUDA graph where the model is on a GPU and the recipe has nothing for the host to decide in a step."""
        recipe, on_gpu = self.recipe, self.model.namespace is not np
        mixes, other_loss = recipe.mixup or recipe.cutmix, recipe.loss != "cross-entropy"
        decides = recipe.optimizer != "sgd" or mixes or recipe.clip or recipe.average or recipe.accumulate > 1
        if self.communicator.size > 1:
            return SharedStep(self)
        return GraphStep(self) if on_gpu and not decides and not other_loss else Step(self)

    def settings(self) -> dict[str, Any]:
        """What must be equal for a run to resume from a checkpoint."""
        first = self.model.parameters()[0].value
        return {
            "model": str(self.model.spec),
            "data": self.train.fingerprint(),
            "contents": self.train.contents_fingerprint(),
            "seed": self.seed,
            "backend": backend_of(first),
            "dtype": str(self.model.dtype),
            **asdict(self.recipe),
        }

    @property
    def totals(self) -> Totals:
        """(Σ loss · images, right answers, images): the sums over the epoch's batches so far."""
        return self.update.totals

    @totals.setter
    def totals(self, totals: Totals) -> None:
        self.update.totals = Totals(*totals)

    def fit(
        self, out: Folder | None = None, callback: Callback | None = None, *, checkpoint_minutes: float = 10.0
    ) -> list[dict[str, Any]]:
        """Train to the end and return the history; with a folder ``out``, write a checkpoint after every epoch.

        Inside an epoch, too, one is written as soon as the last is ``checkpoint_minutes`` old (0: none).

        Raises Stopped, the checkpoint written, once ``callback.stop`` is set; TrainingError on NaN or infinity;
        BlockingIOError where another run is at work in ``out``.
        """
        self.checkpoint_seconds = 60 * checkpoint_minutes or float("inf")
        out = out if self.communicator.rank == 0 else None
        with locked(out) if out else nullcontext():
            return self.fit_locked(out, callback or Callback())

    def fit_locked(self, out: Folder | None, callback: Callback) -> list[dict[str, Any]]:
        """:meth:`fit` in a folder that is locked already."""
        check_agreement(self, self.communicator)
        if out:
            clear_leftovers(out)
            self.save(out)  # a full disk fails now, not after an epoch
            write_metrics(self.history, out)
        with np.errstate(over="ignore", invalid="ignore"):  # update() checks for both and names the layer
            while self.epoch < self.recipe.epochs:
                self.run_epoch(out, callback)
        if out:
            self.save_model(Path(out) / FINAL)
        return self.history

    def save(self, out: Folder) -> None:
        """Write a checkpoint into the folder."""
        save_checkpoint(self, out)
        self.saved = time.monotonic()

    def save_model(self, path: Path) -> None:
        """Write the weights, and of a run in int8 the integer network beside them."""
        model = self.inference_model()
        save_weights(model, path)
        self.precision.save(model, path)

    def run_epoch(self, out: Folder | None, callback: Callback) -> None:
        """Train to the end of the epoch under way."""
        self.model.train()
        self.meter.begin_epoch()
        for batch in self.batches.epoch(self.epoch, self.step):
            self.update(batch)
            self.meter.step(self.batches.images_in(self.step))
            self.step += 1
            callback.batch(self, self.meter.images_per_second)
            stop = int(self.communicator.gather(np.array(callback.stop)).max())  # all ranks stop after the same step
            if out and (stop or time.monotonic() - self.saved >= self.checkpoint_seconds):
                self.save(out)
            if stop:
                raise Stopped(stop)
        totals = self.totals  # on a GPU this waits for the last step
        self.meter.step(0)
        self.end_epoch(totals, out, callback)

    def end_epoch(self, totals: Totals, out: Folder | None, callback: Callback) -> None:
        """Validate, add a row to the history, and write weights, checkpoint and metrics."""
        check_weights(self.model, self.communicator, self.epoch + 1)
        loss, right, n = totals
        row = {
            "epoch": self.epoch + 1,
            "lr": self.recipe.rate((self.epoch + 1) * len(self.batches) - 1, len(self.batches)),
            "train_loss": loss / n,
            "train_accuracy": right / n,
            "images_per_second": round(self.meter.images_per_second, 1),
        }
        if self.validation and self.validation_batches:
            show = partial(callback.validation, self)
            model = self.precision.evaluated(self.inference_model())
            loss, predicted = evaluate_batches(model, self.validation_batches, show, self.communicator)
            accuracy = float((predicted == self.validation.labels).mean())
            row |= {"validation_loss": loss, "validation_accuracy": accuracy}
        if self.probe:
            row |= self.probe(self)
        best = max((past.get("validation_accuracy", -1) for past in self.history), default=-1)
        self.history = [*self.history, row]
        self.epoch, self.step, self.totals = self.epoch + 1, 0, Totals()
        if out:
            if row.get("validation_accuracy", 0) > best:  # without validation the last is the best
                self.save_model(Path(out) / BEST)
            self.save(out)
            write_metrics(self.history, out)
        callback.epoch(self, row)

    def inference_model(self) -> Module:
        """The model to use, in eval mode: a copy with the averaged weights where the recipe has an average."""
        return (self.ema.model(self.model) if self.ema else self.model).eval()

    def learned(self) -> Module:
        """:meth:`inference_model` by its former name."""
        warnings.warn("learned() is now called inference_model()", DeprecationWarning, stacklevel=2)
        return self.inference_model()
