"""load_weights: a checkpoint's arrays into a model, all of them or none."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ..backend import array_namespace
from ..formats.errors import WeightsError, only_weights_errors, printable
from ..nn import Module
from .checkpoint import Checkpoint
from .keys.maps import torchvision_keys
from .read import read_weights
from .recognise import recognise

MOST_LINES = 1000


def load_weights(model, path_or_dict, *, reset: str | tuple[str, ...] = ()) -> Checkpoint:
    """Copy a checkpoint's arrays into ``model``, cast to the model's dtypes; returns what was read, with its notes.

    ``path_or_dict`` is a file, or a mapping name → array under torchvision's names or others that keys.py knows.
    Strict: every missing, unexpected and misshapen key is listed in one WeightsError, and the model is then as it
    was.  Only ``num_batches_tracked``, which old files lack, may be missing.  ``reset="fc"``, or a tuple of names,
    leaves everything under ``fc`` as the model has it, whatever the file holds there: a new head on trained features.

    A mapping's arrays are copied; those that were just read from a file become the model's own where they need no
    conversion, so that loading takes no more memory than reading.
    """
    if isinstance(path_or_dict, Mapping):
        return place(model, path_or_dict, reset)
    return place(model, read_weights(path_or_dict), reset, own=True)


def place(model, found, reset=(), own=False):
    """The work of load_weights; ``own`` arrays belong to nobody else and need not be copied."""
    if not isinstance(model, Module):
        raise WeightsError(f"load_weights fills a model, not a {type(model).__name__}")
    reset = (reset,) if isinstance(reset, str) else reset
    if not isinstance(reset, (tuple, list)) or not all(isinstance(name, str) for name in reset):
        raise WeightsError(f"reset is the name of a part, or a tuple of names, not {reset!r}")
    source = getattr(found, "path", None) or "these weights"
    with only_weights_errors():
        arrays, notes = torchvision_keys(found)
    boxes = dict(model.named_arrays())
    unmatched = [name for name in reset if not any(under(key, (name,)) for key in boxes)]
    if unmatched:
        raise WeightsError(f"reset: the model has nothing called {', '.join(unmatched)}")
    arrays = {key: array for key, array in arrays.items() if not under(key, reset)}
    wanted = {key: box.value for key, box in boxes.items() if not under(key, reset)}
    problems = list(mismatches(wanted, arrays))
    if problems:
        raise WeightsError(complaint(source, model, found, problems))
    fresh = {key: fitted(array, wanted[key], own) for key, array in arrays.items()}
    for key, array in fresh.items():                             # nothing below can fail
        boxes[key].value = array
    notes += [f"kept the model's own arrays under {name!r}" for name in reset]
    return Checkpoint(arrays, format=getattr(found, "format", "mapping"), metadata=getattr(found, "metadata", {}),
                      notes=[*getattr(found, "notes", ()), *notes], sha256=getattr(found, "sha256", ""),
                      path=getattr(found, "path", None))


def fitted(array, wanted, own):
    """``array`` as the model keeps it: on its device, of its dtype, in C order; a copy unless it is ``own``."""
    if own and type(array) is type(wanted) and array.dtype == wanted.dtype and array.flags.c_contiguous:
        return array
    return array_namespace(wanted).array(array, wanted.dtype)


def under(key, names):
    return any(key == name or key.startswith(f"{name}.") for name in names)


def mismatches(wanted, arrays):
    """One (kind, line) for each key that stands in the way."""
    for key in wanted:
        if key not in arrays and not key.endswith("num_batches_tracked"):
            yield "missing", key
    for key, array in arrays.items():
        if key not in wanted:
            yield "unexpected", printable(key)
        elif not isinstance(getattr(array, "dtype", None), np.dtype):
            yield "mistyped", f"{key}: a {type(array).__name__} is no array; convert it with numpy()"
        elif np.shape(array) != wanted[key].shape:
            yield "misshapen", f"{key}: the model has {wanted[key].shape}, the file {np.shape(array)}"
        elif kind(array) != kind(wanted[key]):
            yield "mistyped", f"{key}: the model has {wanted[key].dtype}, the file {array.dtype}"


def kind(array):
    return "number" if np.dtype(array.dtype).kind in "iu" else np.dtype(array.dtype).kind


def complaint(source, model, found, problems):
    """One line that sums up and says what would fit, then a line for each key."""
    counts = Counter(kind for kind, _ in problems)
    head = f"{source}: does not fit: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) + " key(s)"
    lines = [f"  {kind:10}  {line}" for kind, line in problems[:MOST_LINES]]
    if len(problems) > MOST_LINES:
        lines.append(f"  and {len(problems) - MOST_LINES:,} more")
    return "\n".join([head + hint(model, found, problems), *lines])


def hint(model, found, problems):
    """What these weights are, where that is known and explains the misfit."""
    head = ("fc.weight", "fc.bias")
    if all(kind in ("misshapen", "missing") and line.split(":")[0] in head for kind, line in problems):
        return ("; only the head differs: build the model with as many classes, or keep the model's own with "
                "load_weights(model, …, reset=(\"fc\",))")
    try:
        name = recognise(found).name
    except WeightsError:
        return ""
    own = getattr(getattr(model, "spec", None), "name", None)
    return f"; these are the weights of {name}" + (f", not of {own}" if own and own != name else "")
