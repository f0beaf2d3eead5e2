"""recognise: which network a checkpoint belongs to, by its metadata, else its hash, else its keys and shapes."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..formats.errors import WeightsError, error_context, only_weights_errors, printable, quoted
from ..formats.tensors import KEY
from ..models import DIALECTS, FAMILY, Dialect, details
from ..models.dialect_rules import SIZES, check_sizes
from ..models.registry import check_places
from ..models.spec import tupled
from ..models.structure import Shapes
from ..nn import placeholders
from . import catalogue
from .advice import advice
from .config import with_config
from .dialect_of_shapes import in_dialect, in_published_dialect
from .from_shapes import from_shapes
from .graph_check import held_to_graph
from .keys.maps import named_arrays
from .metadata import CHANGED, parse_metadata
from .recognition import Recognition
from .recorded import with_layers


def recognise(checkpoint: Mapping[str, Any]) -> Recognition:
    """The network that a Checkpoint, or a mapping name → array, belongs to.

    Raises WeightsError, and nothing else, where the arrays are of no network of the family.
    """
    with only_weights_errors(), placeholders():
        return recognise_unguarded(checkpoint)


def recognise_unguarded(checkpoint: Mapping[str, Any]) -> Recognition:
    """recognise() without its guard: a hostile checkpoint may raise any exception."""
    metadata = getattr(checkpoint, "metadata", {})
    named = named_arrays(checkpoint)
    shapes = {key: np.shape(array) for key, array in named.arrays.items()}
    text = metadata.get(KEY)
    if text is not None:
        return from_metadata(parse_metadata(text), shapes)
    if not named.known:
        raise WeightsError(advice(shapes))
    check_numbers(named.arrays)
    found = in_dialect(from_shapes(shapes), shapes, named.dialect, metadata)
    if named.options:
        found = found.with_options({**found.options, **named.options})
        others = tuple(other for other in found.alternatives if not any(name in other for name in named.options))
        found = replace(found, alternatives=others)
    found = with_config(found, metadata, shapes)
    layers = named.layers or getattr(checkpoint, "layers", {})
    check_built(found)
    if layers:
        paths = named.paths or {path: path for path in layers}
        found = with_layers(found, layers, paths)
        if named.layers or getattr(checkpoint, "format", "") == "onnx":  # which are the whole graph
            ours = {place: layers[path] for place, path in paths.items() if path in layers}
            found = in_published_dialect(held_to_graph(found, layers, ours, shapes))
    entry = catalogue.by_hash(getattr(checkpoint, "sha256", ""))
    if entry is None or entry.model != found.name:
        return found
    return Recognition(
        found.name,
        found.num_classes,
        found.in_channels,
        found.dialect,
        found.options,
        entry.preprocessing,
        dataset=entry.dataset,
        source="catalogue",
    )


def check_built(found: Recognition) -> None:
    """Raise WeightsError where the options have no place in the network of that name."""
    try:
        flavour = details(found.name, found.dialect, **{**FAMILY[found.name].defaults, **found.options})
        check_places(found.name, FAMILY[found.name], flavour, found.options)
    except ValueError as error:
        raise WeightsError(str(error)) from None


def check_numbers(arrays: Mapping[str, Any]) -> None:
    """Raise WeightsError for kernels that are no real numbers, or none at all."""
    kernels = [array for key, array in arrays.items() if np.ndim(array) == 4]
    kind = next((array.dtype for array in kernels if array.dtype.kind != "f"), None)
    if kind is not None:
        what = "quantized, with scales elsewhere" if kind.kind in "iu" else "not real numbers"
        raise WeightsError(f"its kernels are of dtype {kind}: {what}; only floating-point weights are loaded")
    if kernels and not np.isfinite(kernels[0]).all():
        raise WeightsError("its first kernel holds NaN or infinity: the training that wrote it had diverged")


def from_metadata(fields: dict[str, Any], shapes: Shapes) -> Recognition:
    """The network that the metadata declare; its sizes must be those of the arrays."""
    spec, classes = fields["spec"], fields.get("classes")
    if spec["name"] not in FAMILY:
        raise WeightsError(
            f"the metadata name a network {quoted(spec['name'])}; a newer npresnet wrote them: update npresnet"
        )
    head, stem = shapes.get("fc.weight", ()), shapes.get("conv1.weight") or shapes.get("conv1.0.weight", ())
    declared, real = (spec["num_classes"], spec["in_channels"]), (*(head[:1] or (0,)), *stem[1:2])
    changes = tuple(fields["changes"]) if fields["version"] == CHANGED else ()
    if (declared != real and not changes) or 0 in head + stem:  # rebuild() checks changed layers
        raise WeightsError(
            f"the metadata declare {declared} classes and input channels, the arrays have {real}; load "
            "the arrays alone, dict(read_weights(path))"
        )
    with error_context("the metadata"):
        check_options(spec["name"], spec["dialect"], spec["options"], shapes)
        preprocessing = fields.get("preprocessing")
        if type(preprocessing) is dict:
            from ..data.preprocessing import Preprocessing  # brings Pillow, which is needed here only

            preprocessing = Preprocessing(**preprocessing)
    options = {key: tupled(value) for key, value in spec["options"].items()}
    return Recognition(
        **{**spec, "options": options},
        preprocessing=preprocessing,
        source="metadata",
        classes=None if classes is None else tuple(classes),
        changes=changes,
        frozen=tuple(fields["frozen"]) if fields["version"] == CHANGED else (),
    )


def check_options(name: str, dialect: str, options: dict[str, Any], shapes: Shapes) -> None:
    """Raise WeightsError unless ``name`` can be built with the options: types, values, the width of a deep stem."""
    if dialect not in DIALECTS:
        raise WeightsError(f"unknown dialect {quoted(dialect)}; there are {', '.join(DIALECTS)}")
    usual = Dialect(stem_stride=1)
    for key, value in options.items():
        if type(value) is not type(getattr(usual, key, value)) or (type(value) is float and not 0 <= value <= 1):
            raise WeightsError(f"the option {printable(key)} cannot be {quoted(str(value))}")
    try:
        flavour = details(name, dialect, **{**FAMILY[name].defaults, **options})  # names every unknown one
        check_places(name, FAMILY[name], flavour, options)
        check_size(name, {key: tupled(value) for key, value in options.items() if key in SIZES}, shapes)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    stem = shapes.get("conv1.3.weight", ())[:1]
    if flavour.stem in ("deep", "tiered") and stem != (flavour.stem_width,):
        raise WeightsError(f"the metadata declare a deep stem of width {flavour.stem_width}, the arrays have {stem}")


def check_size(name: str, sizes: dict[str, Any], shapes: Shapes) -> None:
    """Raise ValueError where a network of these sizes would hold far more than the arrays and the usual ``name``.

    It is built before its arrays are compared with those of the file.
    """
    check_sizes(sizes)
    entry = FAMILY[name]
    arrays, values = len(shapes), sum(map(prod, shapes.values()))
    if entry.blocks(sizes) > entry.blocks() + arrays or entry.weights(sizes) > 2 * entry.weights() + 4 * values:
        declared = ", ".join(f"{key}={value}" for key, value in sizes.items())
        raise ValueError(f"{declared} are the sizes of a far larger network than the {arrays} arrays are of")
