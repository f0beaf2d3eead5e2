"""The whole state of a run in one file, written whole or not at all.

Everything random is a function of (seed, epoch, picture), so the state is arrays and counters: the weights under their
own names, "optimizer/…" and "average/…" beside them, and one JSON text under "training".
"""

import json
from pathlib import Path

from ..backend import array_namespace
from ..weights import WeightsError, read_weights, save_weights
from ..weights.atomic import replacing
from ..weights.metadata import KEY, model_metadata, parse_metadata

FILE, BEST, FINAL, METRICS = "checkpoint.safetensors", "best.safetensors", "final.safetensors", "metrics.jsonl"


def save_checkpoint(trainer, folder):
    """Write ``trainer``'s state; a full disk leaves the file from before as it was."""
    arrays = trainer.model.state_dict()
    arrays |= {f"optimizer/{key}": array for key, array in trainer.optimizer.state_dict().items()}
    if trainer.average:
        arrays |= {f"average/{key}": array for key, array in trainer.average.arrays.items()}
    state = {"about": trainer.about, "settings": trainer.settings(), "epoch": trainer.epoch, "step": trainer.step,
             "totals": trainer.totals, "averaged": trainer.average.steps if trainer.average else 0,
             "history": trainer.history, "precision": trainer.precision.state()}
    metadata = {**model_metadata(trainer.model), "training": json.dumps(state)}
    save_weights(arrays, Path(folder) / FILE, metadata=metadata)


def read_checkpoint(folder):
    """(arrays, state, the model's description) of the run in ``folder``, or None where there is none."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    arrays = read_weights(path)
    try:
        state = json.loads(arrays.metadata["training"])
        return arrays, state, parse_metadata(arrays.metadata[KEY])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: no state of a training run ({error}); it holds weights alone") from error


def restore(trainer, checkpoint, source):
    """Put a checkpoint's state into a fresh trainer of the same model, data, recipe and seed.

    Raises WeightsError, naming every difference, where they are not the same.
    """
    arrays, state, _ = checkpoint
    ours, theirs = trainer.settings(), {"precision": "float32", **state["settings"]}     # what it was before a choice
    differ = [f"{key}: {theirs.get(key)} there, {ours.get(key)} here"
              for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if differ:
        raise WeightsError(f"{source}: this checkpoint is of another run:\n" + "\n".join(differ))
    boxes = dict(trainer.model.named_arrays())
    own, groups = {}, {"optimizer": {}, "average": {}}
    for key, array in arrays.items():
        group, _, rest = key.partition("/")
        (groups[group] if rest else own)[rest or key] = array
    if own.keys() != boxes.keys():
        raise WeightsError(f"{source}: this checkpoint is of another model")
    for key, box in boxes.items():
        box.value = array_namespace(box.value).asarray(own[key])
    xp = array_namespace(*(box.value for box in boxes.values()))
    groups = {group: {key: xp.asarray(array) for key, array in found.items()} for group, found in groups.items()}
    trainer.optimizer.load_state_dict(groups["optimizer"])
    if trainer.average:
        trainer.average.arrays, trainer.average.steps = groups["average"], state["averaged"]
    trainer.epoch, trainer.step, trainer.totals = state["epoch"], state["step"], state["totals"]
    trainer.history = state["history"]
    trainer.precision.restore(state.get("precision", []))


def write_metrics(history, folder):
    """One JSON object a line and an epoch."""
    with replacing(Path(folder) / METRICS) as file:
        file.write("".join(json.dumps(row) + "\n" for row in history).encode())


def clear_leftovers(folder):
    """Remove what a killed process was writing when it died."""
    for name in (FILE, BEST, FINAL, METRICS):
        for leftover in Path(folder).glob(f"{name}.*.tmp"):
            leftover.unlink(missing_ok=True)
