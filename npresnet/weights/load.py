"""load_weights: copies a checkpoint's arrays into a model, all of them or none."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..backend import Array, array_namespace
from ..formats.errors import WeightsError, error_context, printable
from ..nn import Module
from .checkpoint import Checkpoint
from .keys.maps import torchvision_keys
from .keys.placement import placed
from .read import read_weights
from .recognise import recognise

MOST_LINES = 1000


def load_weights(
    model: Module, path_or_dict: str | os.PathLike[str] | Mapping[str, Any], *, reset: str | tuple[str, ...] = ()
) -> Checkpoint:
    """Copy a checkpoint's arrays into ``model``, cast to the model's dtypes; returns what was read, with its notes.

    ``path_or_dict`` is a file, or a mapping name → array under torchvision's names or another library's (see keys/).
    Strict: every missing, unexpected and misshapen key is listed in one WeightsError, and the model is then as it
    was.  Only ``num_batches_tracked``, which old files lack, may be missing.  ``reset="fc"``, or a tuple of names,
    leaves everything under ``fc`` as the model has it, whatever the file holds there: a new head on trained features.

    A mapping's arrays are copied; those that were just read from a file become the model's own where they need no
    conversion, so that loading takes no more memory than reading.
    """
    if isinstance(path_or_dict, Mapping):
        return fill(model, path_or_dict, reset)
    return fill(model, read_weights(path_or_dict), reset, copy=False)


def fill(model: Module, found: Mapping[str, Any], reset: str | tuple[str, ...] = (), copy: bool = True) -> Checkpoint:
    """The work of load_weights.  Without ``copy`` the arrays, which nobody else may hold, become the model's own."""
    if not isinstance(model, Module):
        raise WeightsError(f"load_weights fills a model, not a {type(model).__name__}")
    reset = (reset,) if isinstance(reset, str) else reset
    if not isinstance(reset, (tuple, list)) or not all(isinstance(name, str) for name in reset):
        raise WeightsError(f"reset is the name of a part, or a tuple of names, not {reset!r}")
    source = getattr(found, "path", None) or "these weights"
    entries = dict(model.named_arrays())
    with error_context(source):
        arrays, notes = names_of(entries, found)
    unmatched = [name for name in reset if not any(under(key, (name,)) for key in entries)]
    if unmatched:
        raise WeightsError(
            f"reset: the model has nothing called {', '.join(unmatched)}; its parts are "
            + ", ".join(dict.fromkeys(key.partition(".")[0] for key in entries))
        )
    arrays = {key: array for key, array in arrays.items() if not under(key, reset)}
    wanted = {key: entry.value for key, entry in entries.items() if not under(key, reset)}
    problems = list(mismatches(wanted, arrays))
    if problems:
        raise WeightsError(mismatch_message(source, model, found, problems))
    converted = dict(arrays) if copy else arrays
    if not copy and isinstance(found, Checkpoint):  # so that an array is freed as soon as it is converted
        found.clear()
        found.named = None
    for key, array in converted.items():
        converted[key] = convert(array, wanted[key], copy)
    for key, array in converted.items():  # nothing below can fail
        entries[key].value = array
    notes += [f"kept the model's own arrays under {name!r}" for name in reset]
    return Checkpoint(
        arrays,
        format=getattr(found, "format", "mapping"),
        metadata=getattr(found, "metadata", {}),
        notes=[*getattr(found, "notes", ()), *notes],
        sha256=getattr(found, "sha256", ""),
        path=getattr(found, "path", None),
    )


def names_of(entries: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the arrays under the model's names, notes): as they are where they fit the model, else torchvision's."""
    wanted = {key for key in entries if key in found or not key.endswith("num_batches_tracked")}
    of_groups = not any(key.endswith("running_mean") for key in wanted)  # whose norms recognition cannot tell
    if found.keys() == wanted and (of_groups or not any(mismatches({k: entries[k].value for k in wanted}, found))):
        return dict(found), []
    arrays, notes = torchvision_keys(found)
    return placed(arrays, wanted), notes


def convert(array: Any, wanted: Array, copy: bool = True) -> Array:
    """``array`` as the model keeps it: on the device and of the dtype of ``wanted``, in C order."""
    if wanted.ndim == 0 and wanted.dtype.kind == "i" and array.shape + (array.dtype.kind,) != ("i",):
        number = float(array.reshape(-1)[0])  # a counter that was averaged, halved or wrapped
        array = np.asarray(int(number) if np.isfinite(number) else 0)
    if not copy and type(array) is type(wanted) and array.dtype == wanted.dtype and array.flags.c_contiguous:
        return array
    return array_namespace(wanted).array(array, wanted.dtype)


def under(key: str, names: Iterable[str]) -> bool:
    """Whether a key is one of these parts, or of an array in one of them."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def mismatches(wanted: Mapping[str, Array], arrays: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """One (kind, line) for each key that is missing, unexpected, or of another shape or kind of number."""
    for key in wanted:
        if key not in arrays and not key.endswith("num_batches_tracked"):
            yield "missing", key
    for key, array in arrays.items():
        if key not in wanted:
            yield "unexpected", printable(key)
        elif not isinstance(getattr(array, "dtype", None), np.dtype):
            yield "mistyped", f"{key}: a {type(array).__name__} is no array; convert it with numpy()"
        elif is_counter(key, array):
            continue
        elif np.shape(array) != wanted[key].shape:
            yield "misshapen", f"{key}: the model has {wanted[key].shape}, the file {np.shape(array)}"
        elif kind(array) != kind(wanted[key]):
            yield "mistyped", f"{key}: the model has {wanted[key].dtype}, the file {array.dtype}"


def is_counter(key: str, array: Any) -> bool:
    """Whether it is a single number under the name of a batch norm's counter, of whatever dtype; no score needs it."""
    return key.endswith("num_batches_tracked") and np.size(array) == 1 and array.dtype.kind in "iuf"


def kind(array: Any) -> str:
    """NumPy's letter of the dtype's kind, the same for signed and unsigned integers."""
    return "number" if np.dtype(array.dtype).kind in "iu" else np.dtype(array.dtype).kind


def mismatch_message(source: object, model: Module, found: Mapping[str, Any], problems: list[tuple[str, str]]) -> str:
    """One line that sums up and says what would fit, then a line for each key."""
    counts = Counter(kind for kind, _ in problems)
    head = f"{source}: does not fit: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) + " key(s)"
    lines = [f"  {kind:10}  {line}" for kind, line in problems[:MOST_LINES]]
    if len(problems) > MOST_LINES:
        lines.append(f"  and {len(problems) - MOST_LINES:,} more")
    return "\n".join([head + hint(model, found, problems), *lines])


def hint(model: Module, found: Mapping[str, Any], problems: list[tuple[str, str]]) -> str:
    """What these weights are, where that is known and explains the misfit."""
    head = ("fc.weight", "fc.bias")
    if all(kind in ("misshapen", "missing") and line.split(":")[0] in head for kind, line in problems):
        return (
            "; only the head differs: build the model with as many classes, or keep the model's own with "
            'load_weights(model, …, reset=("fc",))'
        )
    try:
        name = recognise(found).name
    except WeightsError:
        return ""
    own = getattr(getattr(model, "spec", None), "name", None)
    return f"; these are the weights of {name}" + (f", not of {own}" if own and own != name else "")
