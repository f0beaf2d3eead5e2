"""Classifiers of several linear layers, which the family has as changes of its one: fc.0, an activation fc.1, fc.2 …"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ..formats.errors import WeightsError, quoted
from ..formats.state import Layer
from ..models.structure import Shapes
from .recognition import Recognition

Change = dict[str, Any]
LINEAR = re.compile(r"fc(\.\d{1,2})?\.weight")
OPTIONS = {"LeakyReLU": ("negative_slope",)}
LAYERS = ("Sequential", "Linear")
PASSING = ("Linear", "Dropout", "Identity", "Flatten")
ASSUMED = (
    "its head has {} linear layers; behind each but the last a ReLU is assumed, which no array shows: save the whole "
    "model, or set model.fc.{}, where it is something else"
)


def linear_layers(shapes: Shapes) -> list[str]:
    """Our paths of the linear layers of the classifier, from the features to the scores."""
    return sorted((key.removesuffix(".weight") for key in shapes if LINEAR.fullmatch(key)), key=lambda p: (len(p), p))


def head_changes(places: list[str]) -> tuple[Change, ...]:
    """The entries of models/changes.py that make the one linear layer into several, with a ReLU between."""
    if len(places) < 2:
        return ()
    between = [changed(after_linear(place), "ReLU") for place in places[:-1]]
    linear = [changed(place, "Linear") for place in places]
    rows = [entry for pair in zip(linear, between) for entry in pair]
    return (changed("fc", "Sequential"), *rows, linear[-1])


def changed(path: str, kind: str, **options: Any) -> Change:
    return {"path": path, "class": kind, "options": options}


def after_linear(place: str) -> str:
    """fc.1 behind fc.0."""
    return f"fc.{int(place.partition('.')[2]) + 1}"


def of_head(change: Change) -> bool:
    """Whether a changed layer is of the classifier."""
    return change["path"].partition(".")[0] == "fc"


def with_hidden(found: Recognition, activations: Mapping[str, Change]) -> Recognition:
    """``found`` with these in the place of the activations that were assumed."""
    changes = tuple(activations.get(change["path"], change) for change in found.changes)
    said = not any(c["path"] not in activations for c in changes if of_head(c) and c["class"] not in LAYERS)
    notes = tuple(note for note in found.notes if not (said and note.startswith(ASSUMED[:8])))
    return replace(found, changes=changes, notes=notes)


def assumed(places: list[str]) -> tuple[str, ...]:
    """The sentence on what stands between the layers."""
    numbers = " and ".join(after_linear(place).removeprefix("fc.") for place in places[:-1])
    return (ASSUMED.format(len(places), numbers),) if len(places) > 1 else ()


def recorded_activations(
    layers: Mapping[str, Layer], paths: Mapping[str, str], classes: Mapping[str, str]
) -> dict[str, Change]:
    """Our path → the activation behind a linear layer, where the file says it; ``classes``: a layer's kind → ours.

    A graph says it, and a Sequential; what another module computes is in its program.  Raises WeightsError for other
    layers in the head.
    """
    found: dict[str, Change] = {}
    for place, inside in between(layers, paths):
        part = layers.get(paths[place].rpartition(".")[0])
        if part is not None and part.kind != "Sequential":
            continue
        kinds = [layer for layer in inside if layer.kind not in PASSING]
        tanh = [layer for layer in kinds if layer.options.get("approximate", "none") != "none"]
        other = next((layer.kind for layer in kinds if layer.kind not in classes or layer in tanh), None)
        if other or len(kinds) > 1:
            raise WeightsError(f"its head has a {quoted(other or kinds[1].kind)}, of which the family has none there")
        options = {name: layer.options.get(name, 0.01) for layer in kinds for name in OPTIONS.get(layer.kind, ())}
        kind = classes[kinds[0].kind] if kinds else "Identity"
        found[after_linear(place)] = changed(after_linear(place), kind, **options)
    return found


def without_hidden(layers: Mapping[str, Layer], paths: Mapping[str, str]) -> dict[str, Layer]:
    """The layers but for those between the classifier's."""
    hidden = {id(layer) for _, inside in between(layers, paths) for layer in inside}
    return {path: layer for path, layer in layers.items() if id(layer) not in hidden}


def between(layers: Mapping[str, Layer], paths: Mapping[str, str]) -> Iterator[tuple[str, list[Layer]]]:
    """(our path of a linear layer, the layers from it to the next one)"""
    order = list(layers)
    places = [place for place in linear_layers({f"{place}.weight": () for place in paths}) if paths[place] in layers]
    for first, second in pairwise(places):
        start, stop = order.index(paths[first]), order.index(paths[second])
        yield first, [layers[path] for path in order[start:stop]]
