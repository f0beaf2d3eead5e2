"""Arrays for a network of other input channels or classes than the one they were trained in."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import Array, array_namespace
from ..models.classifier import Classifier
from ..nn import Linear
from .checkpoint import Checkpoint
from .hidden_layers import linear_layers
from .keys.maps import torchvision_keys

STEMS = ("conv1.weight", "conv1.0.weight")
HEAD = {"fc.weight", "fc.bias"}


def adapt(found: Mapping[str, Any], model: Classifier, *, channels: bool, classes: bool) -> Checkpoint:
    """What ``found`` holds, under torchvision's names, with what does not fit ``model`` made to fit; its notes say so.

    ``channels`` is whether the first convolution may be changed, ``classes`` whether the head may, for the model's own
    arrays or, where it has no classifier, for none.
    """
    other = {key for key, _ in model.named_arrays()} ^ found.keys()
    arrays, notes = (dict(found), []) if other <= HEAD else torchvision_keys(found)  # which knows no group norms
    if channels:
        notes += adapt_stem(arrays, dict(model.named_arrays()))
    if classes:
        notes += replace_head(arrays, model)
    return Checkpoint(
        arrays,
        format=getattr(found, "format", "mapping"),
        metadata=getattr(found, "metadata", {}),
        notes=[*getattr(found, "notes", ()), *notes],
        sha256=getattr(found, "sha256", ""),
        path=getattr(found, "path", None),
    )


def adapt_stem(arrays: dict[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Replace the first convolution's weight by one that reads as many channels as ours; the sentence about it."""
    key = next((key for key in STEMS if key in arrays and key in ours), None)
    shape = np.shape(arrays[key]) if key else ()
    if key is None or len(shape) != 4 or 0 in shape or shape[1] == ours[key].value.shape[1]:
        return []
    k = ours[key].value.shape[1]
    arrays[key] = with_channels(arrays[key], k)
    how = "summed over its" if k == 1 else f"repeated and scaled by {shape[1]}/{k} from"
    return [f"the first convolution reads {k} channel{'s' * (k > 1)}: {key} is {how} {shape[1]} of the file"]


def with_channels(w: Array, k: int) -> Array:
    """Filters (F, C, kh, kw) → (F, k, kh, kw) that answer to a grey image in k channels as w does in C.

    One channel gets the sum over all; otherwise the channels repeat, times C/k, as timm's adapt_input_conv has it.
    """
    xp, channels = array_namespace(w), w.shape[1]
    exact = w.astype(np.result_type(w.dtype, np.float32))
    if k == 1:
        return exact.sum(axis=1, keepdims=True).astype(w.dtype)
    return (xp.take(exact, np.arange(k) % channels, axis=1) * (channels / k)).astype(w.dtype)


def replace_head(arrays: dict[str, Any], model: Classifier) -> list[str]:
    """Put the model's own head in the place of one for other classes; the sentence about it."""
    head = [key for key in arrays if key.startswith("fc.")]
    linear = linear_layers({key: np.shape(array) for key, array in arrays.items()})
    shape = np.shape(arrays[f"{linear[-1]}.weight"]) if linear else ()
    if not isinstance(model.fc, Linear):
        for key in head:
            del arrays[key]
        return [f"the head {of_classes(shape)}was left out: the network gives its pooled features"] * bool(head)
    outputs, inputs = model.fc.weight.value.shape
    if len(linear) == 1 and (len(shape) != 2 or shape[1] != inputs or shape[0] == outputs):
        return []  # the same, or nothing that a new head would mend
    for key in head:
        del arrays[key]
    arrays.update({f"fc.{name}": array.value for name, array in model.fc.named_arrays()})
    was = f"the head {of_classes(shape)}was replaced" if head else "there was no head"
    return [f"{was}: the new one of {outputs} is drawn at random and has to be trained"]


def of_classes(shape: tuple[int, ...]) -> str:
    return f"of {shape[0]} classes " if shape else ""
