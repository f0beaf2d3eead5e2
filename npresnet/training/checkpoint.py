"""Saving the whole state of a run in one file, and restoring it.

Everything random is a function of (seed, epoch, image), so the state is arrays and counters: the weights under their
own names, "optimizer/…" and "average/…" beside them, and one JSON text, a :class:`.state.State`, under "training".
"""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..backend import array_namespace
from ..data import preprocessing_of
from ..formats.atomic import atomic_write
from ..formats.errors import error_context
from ..formats.tensors import KEY
from ..models import Spec, rebuild
from ..models.classifier import Classifier
from ..weights import WeightsError, read_weights, save_weights
from ..weights.metadata import model_metadata, parse_metadata
from ..weights.portable import portable
from .quantized import quantized_name
from .recipes import ADDED_LATER
from .run import Run, Totals
from .state import DIGEST, TRAINING, Checkpoint, Groups, State, contradictions, digest, misfits, parse_state

FILE, BEST, FINAL = "checkpoint.safetensors", "best.safetensors", "final.safetensors"
METRICS, METRICS_CSV = "metrics.jsonl", "metrics.csv"
REPORT, CURVES, CONFUSION = "report.json", "curves.png", "confusion.png"
WRITTEN = (
    FILE,
    BEST,
    FINAL,
    *map(str, map(quantized_name, (BEST, FINAL))),
    METRICS,
    METRICS_CSV,
    REPORT,
    CURVES,
    CONFUSION,
)
Folder = str | os.PathLike[str]


def save_checkpoint(trainer: Run, folder: Folder) -> None:
    """Write ``trainer``'s state, all of it or none: a full disk leaves the earlier file as it was."""
    ema = trainer.ema
    groups = Groups(trainer.model.state_dict(), trainer.optimizer.state_dict(), ema.arrays if ema else {})
    arrays = {key: portable(key, array) for key, array in groups.join().items()}
    state = State(
        about=trainer.about,
        settings=written(trainer.settings()),
        epoch=trainer.epoch,
        step=trainer.step,
        totals=list(trainer.totals),
        averaged=ema.steps if ema else 0,
        history=trainer.history,
        precision=trainer.precision.state(),
    )
    metadata = {**model_metadata(trainer.model), TRAINING: state.to_json()}
    save_weights(arrays, Path(folder) / FILE, metadata={**metadata, DIGEST: digest(arrays, metadata)})


def read_checkpoint(folder: Folder) -> Checkpoint | None:
    """The checkpoint of the run in ``folder``, or None where there is none.

    Raises WeightsError for a file that is damaged, holds no state of a run, or is of a newer version.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    arrays = read_weights(path)
    with error_context(path):
        state, description = parse_state(arrays), parse_metadata(arrays.metadata[KEY])
        missing = {"spec", "preprocessing", "classes"} - description.keys()
        if missing:
            raise WeightsError(f"the description of the model has no {', '.join(sorted(missing))}")
    return Checkpoint(arrays, state, description)


def build_model(checkpoint: Checkpoint) -> Classifier:
    """The network of a checkpoint, its weights zero; :func:`restore` brings them."""
    spec, preprocessing, classes = (checkpoint.description[key] for key in ("spec", "preprocessing", "classes"))
    shapes = {key: array.shape for key, array in checkpoint.arrays.items()}
    with error_context("the checkpoint's description of the model"):
        model = rebuild(
            Spec(**spec), shapes, checkpoint.description.get("changes", ()), checkpoint.description.get("frozen", ())
        )
        model.preprocessing = preprocessing_of(preprocessing) if isinstance(preprocessing, dict) else preprocessing
        preprocessing_of(model)
    model.classes = classes and tuple(classes)
    return model


def written(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without the fields that came later, where they change nothing: an earlier version reads them too."""
    return {
        name: value
        for name, value in settings.items()
        if name == "precision" or name not in ADDED_LATER or value != ADDED_LATER[name]
    }


def restore(trainer: Run, checkpoint: Checkpoint, source: Folder) -> None:
    """Put a checkpoint's state into a fresh trainer of the same model, data, recipe and seed.

    The recipe's number of epochs may be another: from here on the learning rate follows the schedule of a run of so
    many epochs.

    Raises WeightsError, naming ``source`` and every difference, where they are not the same; the trainer is then as it
    was.
    """
    state, ours = checkpoint.state, trainer.settings()
    theirs = {**ADDED_LATER, "contents": ours["contents"], **state.settings, "epochs": ours["epochs"]}
    differ = [
        f"{key}: {theirs.get(key)} in the checkpoint, {ours.get(key)} now"
        for key in {**theirs, **ours}
        if theirs.get(key) != ours.get(key)
    ]
    if differ:
        raise WeightsError(f"{source}: this checkpoint is of another run:\n" + "\n".join(differ))
    groups = Groups.split(checkpoint.arrays)
    wanted = expected(trainer, state, groups)
    problems = contradictions(trainer, state) or [line for pair in zip(groups, wanted) for line in misfits(*pair)]
    if problems:
        raise WeightsError(
            f"{source}: this checkpoint cannot be resumed; start again in another folder:\n" + "\n".join(problems)
        )
    parameters = dict(trainer.model.named_arrays())
    xp = array_namespace(*(parameter.value for parameter in parameters.values()))
    groups = Groups(*({key: xp.asarray(array) for key, array in found.items()} for found in groups))
    for key, parameter in parameters.items():
        parameter.value = groups.model[key]
    trainer.optimizer.load_state_dict(groups.optimizer)
    if trainer.ema:
        trainer.ema.arrays, trainer.ema.steps = groups.average, state.averaged
    loss, right, images = state.totals
    trainer.epoch, trainer.step, trainer.totals = state.epoch, state.step, Totals(loss, int(right), int(images))
    trainer.history = state.history
    trainer.precision.restore(state.precision)


def expected(trainer: Run, state: State, groups: Groups) -> Groups:
    """Arrays of the names, shapes and dtypes that each group must have at that point of the run."""
    moved = state.epoch or state.step  # overflows may have skipped all steps so far
    started = moved and not (state.precision and not groups.optimizer)
    return Groups(
        {key: parameter.value for key, parameter in trainer.model.named_arrays()},
        trainer.optimizer.expected_state() if started else {},
        trainer.ema.arrays if trainer.ema else {},
    )


def write_metrics(history: Sequence[dict[str, Any]], folder: Folder) -> None:
    """Write metrics.jsonl, one line, a JSON object, for each epoch, and the same as a table, metrics.csv."""
    table = io.StringIO()
    columns = list(dict.fromkeys(key for row in history for key in row))
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    for name, text in (
        (METRICS, "".join(json.dumps(row) + "\n" for row in history)),
        (METRICS_CSV, table.getvalue() if history else ""),
    ):
        with atomic_write(Path(folder) / name) as file:
            file.write(text.encode())


def clear_leftovers(folder: Folder) -> None:
    """Remove the temporary files of a process that was killed while it wrote."""
    for name in WRITTEN:
        for leftover in Path(folder).glob(f"{name}.*.tmp"):
            leftover.unlink(missing_ok=True)
