"""recognise: which network a checkpoint belongs to, by its metadata, else its hash, else its keys and shapes."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from ..formats.errors import WeightsError, error_context, only_weights_errors, printable, quoted
from ..formats.tensors import KEY
from ..models import DIALECTS, FAMILY, Dialect, details
from ..models.dialect_rules import SIZES, check_sizes
from ..models.registry import check_places
from ..models.spec import tupled
from ..models.structure import Shapes, measure
from . import catalogue
from .advice import advice
from .config import with_config
from .dialect_of_shapes import in_dialect, with_single_stem
from .keys.maps import key_map_of, torchvision_keys
from .metadata import CHANGED, parse_metadata
from .recognition import Recognition


def recognise(checkpoint: Mapping[str, Any]) -> Recognition:
    """The network that a Checkpoint, or a mapping name → array, belongs to.

    Raises WeightsError, and nothing else, where the arrays are of no network of the family.
    """
    with only_weights_errors():
        return recognise_unguarded(checkpoint)


def recognise_unguarded(checkpoint: Mapping[str, Any]) -> Recognition:
    """recognise() without its guard: a hostile checkpoint may raise any exception."""
    shapes = {key: np.shape(array) for key, array in torchvision_keys(checkpoint)[0].items()}
    metadata = getattr(checkpoint, "metadata", {})
    text = metadata.get(KEY)
    if text is not None:
        return from_metadata(parse_metadata(text), shapes)
    key_map = key_map_of(checkpoint)
    dialect = key_map.dialect(checkpoint) if key_map else "torchvision"
    found = in_dialect(from_shapes(with_single_stem(shapes)), shapes, dialect, metadata)
    found = with_config(found, metadata, shapes)
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


def from_metadata(fields: dict[str, Any], shapes: Shapes) -> Recognition:
    """The network that the metadata declare; its sizes must be those of the arrays."""
    spec, classes = fields["spec"], fields.get("classes")
    if spec["name"] not in FAMILY:
        raise WeightsError(
            f"the metadata name a network {quoted(spec['name'])}; a newer npresnet wrote them: update npresnet"
        )
    head, stem = shapes.get("fc.weight", ()), shapes.get("conv1.weight") or shapes.get("conv1.0.weight", ())
    declared, real = (spec["num_classes"], spec["in_channels"]), (*head[:1], *stem[1:2])
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
    stem = shapes.get("conv1.0.weight", ())[:1]
    if flavour.stem == "deep" and stem != (flavour.stem_width,):
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


def from_shapes(shapes: Shapes) -> Recognition:
    """The network of the family whose structure the shapes have, and the options that show in them."""
    try:
        structure = measure(shapes)
        (num_classes, features), (width, in_channels) = shapes["fc.weight"], shapes["conv1.weight"][:2]
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(advice(shapes, name_of)) from error
    if min(num_classes, in_channels) < 1:
        raise WeightsError(f"no network has {num_classes} classes and {in_channels} input channels")
    names = [name for name, entry in FAMILY.items() if entry.structure == structure]
    if not names or features != structure.features(width):
        raise WeightsError(f"no network of the family has the stages {structure.depths} of this file")
    name, options, alternatives = resolve(names, shapes)
    preset = FAMILY[name].preprocessing
    if f"{name}:V1" in catalogue.ENTRIES:
        preset = catalogue.find(name).preprocessing
    if f"{name}:V2" in catalogue.ENTRIES:
        alternatives += ("the preprocessing imagenet-v2, of torchvision's V2 weights",)
    return Recognition(name, num_classes, in_channels, "torchvision", options, preset, alternatives=alternatives)


def name_of(shapes: Shapes) -> str | None:
    """The network that shapes with a head belong to, or None."""
    try:
        return from_shapes(shapes).name
    except (WeightsError, KeyError, IndexError, ValueError, ZeroDivisionError):
        return None


def resolve(names: list[str], shapes: Shapes) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """(name, options, alternatives) for the names of one structure: as the shapes decide, then by the default."""
    options: dict[str, Any] = {"conv_bias": True} if "layer1.0.conv1.bias" in shapes else {}
    plain = tuple(name for name in names if "shortcut" in FAMILY[name].unread())  # no shortcuts, or all of one kind
    name, alternatives = next((name for name in names if name not in plain), names[0]), ()
    if name not in plain:
        shortcut = shortcut_of(shapes)
        usual = shortcut == FAMILY[name].defaults.get("shortcut", Dialect.shortcut)
        if shortcut == "A" and plain and not usual:
            return plain[0], options, (f"{name} with shortcut='A'", f"{name} with shortcut='A-appended'")
        options |= {} if usual else {"shortcut": shortcut}
        alternatives = (f"{name} with shortcut='A-appended'", *plain) if shortcut == "A" else ()
    if "layer1.0.conv3.weight" in shapes:
        alternatives += (f"{name} with stride_on='1x1' (v1)",)
    return name, options, alternatives


def shortcut_of(shapes: Shapes) -> str:
    """The shortcuts' option as far as shapes show it: C projects in every block, B in some, A in none."""
    projected = [key for key in shapes if ".downsample." in key]
    if any(key.startswith("layer1.1.downsample.") for key in projected):
        return "C"
    return "B" if projected else "A"
