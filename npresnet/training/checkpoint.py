"""The whole state of a run in one file, written whole or not at all.

Everything random is a function of (seed, epoch, picture), so the state is arrays and counters: the weights under their
own names, "optimizer/…" and "average/…" beside them, and one JSON text under "training".
"""

import json
from pathlib import Path

from ..backend import array_namespace
from ..formats.atomic import atomic_write
from ..formats.errors import error_context
from ..formats.tensors import KEY
from ..weights import WeightsError, read_weights, save_weights
from ..weights.metadata import model_metadata, parse_metadata
from ..weights.save import portable
from .state import DIGEST, TRAINING, VERSION, contradictions, digest, misfits, parse_state

FILE, BEST, FINAL, METRICS = "checkpoint.safetensors", "best.safetensors", "final.safetensors", "metrics.jsonl"
REPORT, CURVES, CONFUSION = "report.json", "curves.png", "confusion.png"
WRITTEN = (FILE, BEST, FINAL, METRICS, REPORT, CURVES, CONFUSION)


def save_checkpoint(trainer, folder):
    """Write ``trainer``'s state; a full disk leaves the file from before as it was."""
    arrays = trainer.model.state_dict()
    arrays |= {f"optimizer/{key}": array for key, array in trainer.optimizer.state_dict().items()}
    if trainer.average:
        arrays |= {f"average/{key}": array for key, array in trainer.average.arrays.items()}
    arrays = {key: portable(key, array) for key, array in arrays.items()}
    state = {"version": VERSION, "about": trainer.about, "settings": trainer.settings(), "epoch": trainer.epoch,
             "step": trainer.step, "totals": trainer.totals,
             "averaged": trainer.average.steps if trainer.average else 0, "history": trainer.history,
             "precision": trainer.precision.state()}
    metadata = {**model_metadata(trainer.model), TRAINING: json.dumps(state)}
    save_weights(arrays, Path(folder) / FILE, metadata={**metadata, DIGEST: digest(arrays, metadata)})


def read_checkpoint(folder):
    """(arrays, state, the model's description) of the run in ``folder``, or None where there is none.

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
    return arrays, state, description


def restore(trainer, checkpoint, source):
    """Put a checkpoint's state into a fresh trainer of the same model, data, recipe and seed.

    Raises WeightsError, naming every difference, where they are not the same; the trainer is then as it was.
    """
    arrays, state, _ = checkpoint
    ours = trainer.settings()
    theirs = {"precision": "float32", "contents": ours["contents"], **state["settings"]}   # before there was a choice
    differ = [f"{key}: {theirs.get(key)} there, {ours.get(key)} here"
              for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if differ:
        raise WeightsError(f"{source}: this checkpoint is of another run:\n" + "\n".join(differ))
    groups = grouped(arrays)
    problems = contradictions(trainer, state) or [line for name, wanted in expected(trainer, state, groups).items()
                                                  for line in misfits(groups[name], wanted)]
    if problems:
        raise WeightsError(f"{source}: this checkpoint cannot be gone on with, begin again in another folder:\n"
                           + "\n".join(problems))
    boxes = dict(trainer.model.named_arrays())
    xp = array_namespace(*(box.value for box in boxes.values()))
    groups = {name: {key: xp.asarray(array) for key, array in found.items()} for name, found in groups.items()}
    for key, box in boxes.items():
        box.value = groups["model"][key]
    trainer.optimizer.load_state_dict(groups["optimizer"])
    if trainer.average:
        trainer.average.arrays, trainer.average.steps = groups["average"], state["averaged"]
    trainer.epoch, trainer.step, trainer.totals = state["epoch"], state["step"], state["totals"]
    trainer.history = state["history"]
    trainer.precision.restore(state["precision"])


def grouped(arrays) -> dict[str, dict]:
    """The arrays of the model, the optimizer and the average; a name of none of these counts as the model's."""
    groups = {"model": {}, "optimizer": {}, "average": {}}
    for key, array in arrays.items():
        group, _, rest = key.partition("/")
        if rest and group in groups:
            groups[group][rest] = array
        else:
            groups["model"][key] = array
    return groups


def expected(trainer, state, groups) -> dict[str, dict]:
    """Arrays of the names, shapes and dtypes that each group must have at that point of the run."""
    moved = state["epoch"] or state["step"]                             # a loss scale may have cost all steps so far
    started = moved and not (state["precision"] and not groups["optimizer"])
    return {"model": {key: box.value for key, box in trainer.model.named_arrays()},
            "optimizer": trainer.optimizer.expected_state() if started else {},
            "average": trainer.average.arrays if trainer.average else {}}


def write_metrics(history, folder):
    """One JSON object a line and an epoch."""
    with atomic_write(Path(folder) / METRICS) as file:
        file.write("".join(json.dumps(row) + "\n" for row in history).encode())


def clear_leftovers(folder):
    """Remove what a killed process was writing when it died."""
    for name in WRITTEN:
        for leftover in Path(folder).glob(f"{name}.*.tmp"):
            leftover.unlink(missing_ok=True)
