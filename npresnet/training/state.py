"""What a checkpoint holds: its schema, and the checks that a file from anywhere must pass before a run resumes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, get_origin, get_type_hints

import numpy as np

from ..backend import Array
from ..formats.errors import quoted
from ..formats.tensors import KEY
from ..weights import WeightsError
from ..weights.checkpoint import Checkpoint as WeightsFile
from .run import Run

VERSION = 2  # 1 had no version, no digest and no checksum of photos
TRAINING, DIGEST = "training", "digest"  # keys of a file's metadata


class State(NamedTuple):
    """Everything of a run that is no array: the file's JSON text, with these keys in this order after "version"."""

    about: dict[str, Any]  # what the caller keeps beside the run; the command line, what it was asked for
    settings: dict[str, Any]  # what must be equal for a run to resume: Trainer.settings()
    epoch: int  # finished epochs
    step: int  # finished steps of the epoch under way
    totals: list[float]  # the Totals of that epoch
    averaged: int  # steps of the EMA
    history: list[dict[str, Any]]  # a row for each finished epoch
    precision: list[float]  # the loss scale and its good steps; nothing in full precision

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **self._asdict()})


class Groups(NamedTuple):
    """The arrays of a run; a file has the model's under their keys, the others' under "optimizer/…" and "average/…"."""

    model: dict[str, Array]
    optimizer: dict[str, Array]
    average: dict[str, Array]

    def join(self) -> dict[str, Array]:
        """All arrays by their names in a file."""
        return {
            **self.model,
            **{f"optimizer/{key}": array for key, array in self.optimizer.items()},
            **{f"average/{key}": array for key, array in self.average.items()},
        }

    @classmethod
    def split(cls, arrays: Mapping[str, Array]) -> "Groups":
        """The groups of a file's arrays; a name of no other group counts as the model's."""
        groups = cls({}, {}, {})
        for key, array in arrays.items():
            group, _, rest = key.partition("/")
            if rest and group in ("optimizer", "average"):
                getattr(groups, group)[rest] = array
            else:
                groups.model[key] = array
        return groups


class Checkpoint(NamedTuple):
    """A checkpoint as it was read."""

    arrays: Mapping[str, Array]  # by their names in the file
    state: State
    description: dict[str, Any]  # of the model: "spec", "preprocessing", "classes"; see weights/metadata.py


def digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
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


def parse_state(file: WeightsFile) -> State:
    """The state in a file's metadata, its digest verified, each field of its type.  Raises WeightsError."""
    if TRAINING not in file.metadata or KEY not in file.metadata:
        raise WeightsError("no state of a training run; it holds weights alone")
    found = json.loads(file.metadata[TRAINING])
    if type(found) is not dict:
        raise WeightsError("the state of the run is no JSON object")
    version = found.pop("version", 1)
    if type(version) is not int or not 1 <= version <= VERSION:
        raise WeightsError(f"its version is {quoted(str(version))}, and this npresnet knows those up to {VERSION}")
    if version > 1 and file.metadata.get(DIGEST) != digest(file, file.metadata):
        raise WeightsError("damaged: its bytes are not those that were written (SHA-256); resume from a copy")
    if version == 1:
        found = {"precision": [], **found}
    kinds = {name: get_origin(hint) or hint for name, hint in get_type_hints(State).items()}
    odd = [f"no {name}" for name in kinds if name not in found]
    odd += [f"{quoted(name)}, which is unknown" for name in found if name not in kinds]
    odd += [
        f"{name} of a wrong type" for name, kind in kinds.items() if name in found and type(found[name]) is not kind
    ]
    if odd:
        raise WeightsError(f"the state of the run has {', '.join(odd)}")
    return State(**found)


def contradictions(trainer: Run, state: State) -> list[str]:
    """What in a state cannot be at that point of the trainer's run."""
    recipe, steps = trainer.recipe, len(trainer.batches)
    epoch, step, totals, history = state.epoch, state.step, state.totals, state.history
    last = epoch == recipe.epochs
    claims = {
        f"epoch {epoch} of {recipe.epochs}": 0 <= epoch <= recipe.epochs,
        f"step {step} of {0 if last else steps}": 0 <= step <= steps * (not last),
        f"totals {quoted(str(totals))}": numbers(totals, 3)
        and totals[2] == min(step * recipe.batch_size, len(trainer.train))
        and 0 <= totals[1] <= totals[2],
        f"a history of {len(history)} epochs": len(history) == epoch and all(map(is_row, history, range(1, epoch + 1))),
        f"{state.averaged} averaged steps": 0 <= state.averaged <= epoch * steps + step,
        f"precision {quoted(str(state.precision))}": numbers(state.precision, len(trainer.precision.state()))
        and all(number >= 0 for number in state.precision),
    }
    return [claim for claim, holds in claims.items() if not holds]


def numbers(values: list[Any], count: int) -> bool:
    """Whether these are so many numbers."""
    return len(values) == count and all(type(value) in (int, float) for value in values)


def is_row(row: Any, epoch: int) -> bool:
    """Whether this can be the entry of that epoch in the history."""
    if type(row) is not dict or row.get("epoch") != epoch or not {"train_loss", "train_accuracy"} <= row.keys():
        return False
    known = [value for key, value in row.items() if key.startswith(("train_", "validation_"))]
    return numbers(known, len(known))


def misfits(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> list[str]:
    """A line for each array of ``found`` that is missing, unknown, or of another shape or dtype than in ``wanted``."""
    lines = [f"{key} is missing" for key in wanted if key not in found]
    for key, array in found.items():
        if key not in wanted:
            lines.append(f"{quoted(key)} is unknown")
        elif (array.shape, array.dtype) != (wanted[key].shape, wanted[key].dtype):
            lines.append(f"{key} is {array.dtype} {array.shape} and should be {wanted[key].dtype} {wanted[key].shape}")
    return lines
