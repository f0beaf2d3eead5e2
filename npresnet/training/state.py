"""What a checkpoint says beside its arrays, trusted with nothing: the fields, and whether they fit a run."""

import hashlib
import json

import numpy as np

from ..formats.errors import quoted
from ..formats.tensors import KEY
from ..weights import WeightsError

VERSION = 2                              # 1 had no version, no digest and no checksum of photos
TRAINING, DIGEST = "training", "digest"
FIELDS = {"about": dict, "settings": dict, "epoch": int, "step": int, "totals": list, "averaged": int, "history": list,
          "precision": list}


def digest(arrays, metadata) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all arrays, the state and the model's description."""
    check = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        check.update(repr((name, array.dtype.str, arrays[name].shape)).encode("utf-8", "surrogatepass"))
        check.update(array.reshape(-1).view(np.uint8).data)
    for key in (TRAINING, KEY):
        text = metadata.get(key, "").encode("utf-8", "surrogatepass")
        check.update(len(text).to_bytes(8, "little") + text)
    return check.hexdigest()


def parse_state(arrays) -> dict:
    """The state in a checkpoint's metadata, its digest verified, each field of its type.  Raises WeightsError."""
    if TRAINING not in arrays.metadata or KEY not in arrays.metadata:
        raise WeightsError("no state of a training run; it holds weights alone")
    state = json.loads(arrays.metadata[TRAINING])
    if type(state) is not dict:
        raise WeightsError("the state of the run is no JSON object")
    version = state.pop("version", 1)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise WeightsError(f"its version is {quoted(str(version))}, and this npresnet knows those up to {VERSION}")
    if version > 1 and arrays.metadata.get(DIGEST) != digest(arrays, arrays.metadata):
        raise WeightsError("damaged: its bytes are not those that were written (SHA-256); go on from a copy")
    if version == 1:
        state = {"precision": [], **state}
    odd = [f"no {name}" for name in FIELDS if name not in state]
    odd += [f"{quoted(name)}, which is unknown" for name in state if name not in FIELDS]
    odd += [f"{name} of a wrong type" for name, kind in FIELDS.items() if name in state
            and type(state[name]) is not kind]
    if odd:
        raise WeightsError(f"the state of the run has {', '.join(odd)}")
    return state


def contradictions(trainer, state) -> list[str]:
    """What in a state cannot be at that point of the trainer's run."""
    recipe, n, steps = trainer.recipe, len(trainer.train), len(trainer.batches)
    epoch, step, totals, history = (state[name] for name in ("epoch", "step", "totals", "history"))
    last = epoch == recipe.epochs
    claims = {
        f"epoch {epoch} of {recipe.epochs}": 0 <= epoch <= recipe.epochs,
        f"step {step} of {0 if last else steps}": 0 <= step <= steps * (not last),
        f"totals {quoted(str(totals))}": numbers(totals, 3) and totals[2] == min(step * recipe.batch_size, n)
            and 0 <= totals[1] <= totals[2],
        f"a history of {len(history)} epochs": len(history) == epoch and all(map(is_row, history, range(1, epoch + 1))),
        f"{state['averaged']} averaged steps": 0 <= state["averaged"] <= epoch * steps + step,
        f"precision {quoted(str(state['precision']))}": numbers(state["precision"], len(trainer.precision.state()))
            and all(number >= 0 for number in state["precision"]),
    }
    return [claim for claim, holds in claims.items() if not holds]


def numbers(values, count) -> bool:
    return len(values) == count and all(type(value) in (int, float) for value in values)


def is_row(row, epoch) -> bool:
    """Whether an entry of the history is of that epoch and its numbers are numbers."""
    if type(row) is not dict or row.get("epoch") != epoch or not {"train_loss", "train_accuracy"} <= row.keys():
        return False
    known = [value for key, value in row.items() if key.startswith(("train_", "validation_"))]
    return numbers(known, len(known))


def misfits(found, wanted) -> list[str]:
    """A line for each array that is missing, too much, or of another shape or dtype."""
    lines = [f"{key} is missing" for key in wanted if key not in found]
    for key, array in found.items():
        if key not in wanted:
            lines.append(f"{quoted(key)} is unknown")
        elif (array.shape, array.dtype) != (wanted[key].shape, wanted[key].dtype):
            lines.append(f"{key} is {array.dtype} {array.shape} and should be {wanted[key].dtype} {wanted[key].shape}")
    return lines
