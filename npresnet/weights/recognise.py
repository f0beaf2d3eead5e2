"""Which network a checkpoint belongs to: believed, in this order, are its metadata, its hash, its keys and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..formats.errors import WeightsError, describing, guarding, printable, shown
from ..formats.tensors import KEY
from ..models import DIALECTS, FAMILY, Dialect, details
from ..models.registry import check_places
from . import catalogue
from .advice import advice
from .keys.maps import key_map_of, torchvision_keys
from .metadata import CHANGED, parse_metadata
from .recognise_dialect import in_dialect, plain

if TYPE_CHECKING:
    from ..data import Preprocessing


@dataclass(frozen=True)
class Recognition:
    """Enough to build the model, ``build(name, num_classes, in_channels=…, dialect=…, **options)``, and to use it.

    preprocessing  a preset's name, or a Preprocessing
    classes        their names where the file brings them, else None
    dataset        whose class names fit, where the hash proves it, else None
    source         "metadata", "catalogue" or "keys": what was believed
    also           other readings of the same keys and shapes, in words
    changes        the layers that are other than the name and the options say, see models/changes.py
    frozen         the keys of the parameters that do not learn
    """

    name: str
    num_classes: int
    in_channels: int = 3
    dialect: str = "torchvision"
    options: dict = field(default_factory=dict)
    preprocessing: "str | Preprocessing | None" = None
    classes: tuple[str, ...] | None = None
    dataset: str | None = None
    source: str = "keys"
    also: tuple[str, ...] = ()
    changes: tuple[dict, ...] = ()
    frozen: tuple[str, ...] = ()


def recognise(checkpoint: Mapping) -> Recognition:
    """Raises WeightsError, and nothing else, where the arrays are of no network of the family."""
    with guarding():
        return recognised(checkpoint)


def recognised(checkpoint):
    shapes = {key: np.shape(array) for key, array in torchvision_keys(checkpoint)[0].items()}
    text = getattr(checkpoint, "metadata", {}).get(KEY)
    if text is not None:
        return from_metadata(parse_metadata(text), shapes)
    key_map = key_map_of(checkpoint)
    dialect = key_map.dialect(checkpoint) if key_map else "torchvision"
    read = in_dialect(from_shapes(plain(shapes)), shapes, dialect, getattr(checkpoint, "metadata", {}))
    entry = catalogue.by_hash(getattr(checkpoint, "sha256", ""))
    if entry is None or entry.model != read.name:
        return read
    return Recognition(read.name, read.num_classes, read.in_channels, read.dialect, read.options, entry.preprocessing,
                       dataset=entry.dataset, source="catalogue")


def from_metadata(fields, shapes):
    """What save_weights wrote; the sizes that a model would be built with must be those of the arrays."""
    spec, classes = fields["spec"], fields.get("classes")
    if spec["name"] not in FAMILY:
        raise WeightsError(f"the metadata name a network {shown(spec['name'])}; a newer npresnet wrote them")
    head, stem = shapes.get("fc.weight", ()), shapes.get("conv1.weight") or shapes.get("conv1.0.weight", ())
    told, real = (spec["num_classes"], spec["in_channels"]), (*head[:1], *stem[1:2])
    changes = tuple(fields["changes"]) if fields["version"] == CHANGED else ()
    if (told != real and not changes) or 0 in head + stem:       # of changed layers rebuild() asks it
        raise WeightsError(f"the metadata tell of {told} classes and input channels, the arrays of {real}")
    with describing("the metadata"):
        check_options(spec["name"], spec["dialect"], spec["options"], shapes)
        preprocessing = fields.get("preprocessing")
        if type(preprocessing) is dict:
            from ..data.preprocessing import Preprocessing  # brings Pillow, which is needed here only
            preprocessing = Preprocessing(**preprocessing)
    return Recognition(**spec, preprocessing=preprocessing, source="metadata",
                       classes=None if classes is None else tuple(classes), changes=changes,
                       frozen=tuple(fields["frozen"]) if fields["version"] == CHANGED else ())


def check_options(name, dialect, options, shapes):
    """Whether ``name`` can be built so: the options' kinds, their values, and the one that says a size."""
    if dialect not in DIALECTS:
        raise WeightsError(f"unknown dialect {shown(dialect)}; there are {', '.join(DIALECTS)}")
    usual = Dialect()
    for key, value in options.items():
        if type(value) is not type(getattr(usual, key, value)) or (type(value) is float and not 0 <= value <= 1):
            raise WeightsError(f"the option {printable(key)} cannot be {shown(str(value))}")
    try:
        flavour = details(name, dialect, **{**FAMILY[name].defaults, **options})    # names every unknown one
        check_places(name, FAMILY[name], flavour, options)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    stem = shapes.get("conv1.0.weight", ())[:1]
    if flavour.stem == "deep" and stem != (flavour.stem_width,):
        raise WeightsError(f"the metadata tell of a deep stem of width {flavour.stem_width}, the arrays of {stem}")


def from_shapes(shapes):
    """Count the blocks, measure the first of them, and look for the one name that is built so."""
    try:
        plan = measured(shapes)
        (num_classes, features), in_channels = shapes["fc.weight"], shapes["conv1.weight"][1]
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(advice(shapes, name_of)) from error
    if min(num_classes, in_channels) < 1:
        raise WeightsError(f"no network has {num_classes} classes and {in_channels} input channels")
    expected = shapes["conv1.weight"][0] * 2 ** (len(plan[2]) - 1) * (4 if plan[1] else 1)
    names = [name for name, entry in FAMILY.items() if built(entry) == plan and features == expected]
    if not names:
        raise WeightsError(f"no network of the family has the stages {plan[2]} of this file")
    name, options, also = resolve(names, shapes, cifar=len(plan[2]) == 3)
    preset = FAMILY[name].preprocessing
    if f"{name}:V1" in catalogue.ENTRIES:
        preset = catalogue.find(name).preprocessing
    if f"{name}:V2" in catalogue.ENTRIES:
        also += ("the preprocessing imagenet-v2, of torchvision's V2 weights",)
    return Recognition(name, num_classes, in_channels, "torchvision", options, preset, also=also)


def name_of(shapes):
    """The network that shapes with a head belong to, or None."""
    try:
        return from_shapes(shapes).name
    except (WeightsError, KeyError, IndexError, ValueError, ZeroDivisionError):
        return None


def measured(shapes):
    """(pre-activation?, bottleneck?, depths, groups, base width, stem's kernel)"""
    blocks = {tuple(map(int, found.groups())) for key in shapes if (found := re.match(r"layer(\d)\.(\d{1,4})\.", key))}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(1, 1 + max(stage for stage, _ in blocks)))
    bottleneck = "layer1.0.conv3.weight" in shapes
    filters, per_group = shapes["layer1.0.conv2.weight"][:2]
    width = shapes["conv1.weight"][0]
    groups = filters // per_group
    return "bn.weight" in shapes, bottleneck, depths, groups, 64 * filters // groups // width, shapes["conv1.weight"][2]


def built(entry):
    """The same six of an entry of the family."""
    net, options = entry.build.func, entry.build.keywords
    cifar = len(options["depths"]) == 3
    return (net.__name__ == "PreActResNet", options["block"].expansion == 4, options["depths"],
            options.get("groups", 1), options.get("base_width", 64), 3 if cifar else 7)


def resolve(names, shapes, cifar):
    """(name, options, also): what the arrays decide, then the documented default."""
    plain = next((name for name in names if name.startswith("plain")), None)
    name = next(name for name in names if name != plain)
    options, also = {}, ()
    projected = sorted(key for key in shapes if ".downsample." in key)
    if name.startswith("preresnet"):
        pass                                                     # its shortcuts are always of one kind
    elif any(key.startswith("layer1.1.downsample.") for key in projected):
        options["shortcut"] = "C"
    elif projected and cifar:
        options["shortcut"] = "B"
    elif not projected and not cifar and plain:
        return plain, with_bias(shapes, {}), (f"{name} with shortcut='A'", f"{name} with shortcut='A-appended'")
    elif not projected:
        options |= {} if cifar else {"shortcut": "A"}
        also += (f"{name} with shortcut='A-appended'",) + ((plain,) if plain else ())
    if "layer1.0.conv3.weight" in shapes:
        also += (f"{name} with stride_on='1x1' (v1)",)
    return name, with_bias(shapes, options), also


def with_bias(shapes, options):
    return options | ({"conv_bias": True} if "layer1.0.conv1.bias" in shapes else {})
