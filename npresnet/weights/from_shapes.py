"""from_shapes: the network of the family that arrays under torchvision's names are of, and its options."""

import re
from typing import Any

from ..formats.errors import WeightsError
from ..models import FAMILY, Dialect
from ..models.registry import Entry
from ..models.structure import Shapes, Structure, measure
from . import catalogue
from .advice import advice
from .dialect_of_shapes import stem_and_gates
from .hidden_layers import assumed, head_changes, linear_layers
from .recognition import Recognition

UNSEEN = (
    "no array shows strides and dilation, the stem's stride and pooling, antialiasing, eps, the activation or padding "
    "('same'): they are the usual ones; options of create_model choose others, and npresnet diff says what is at stake"
)
BEFORE = "; nor whether a projection reads x, and the first block's shortcut too (projection_of, first_block)"
INNER = re.compile(r"layer(\d)\.\d+\.conv([12])\.weight")
STEMS = {3: "3x3", 5: "5x5", 7: "7x7"}


def from_shapes(shapes: Shapes) -> Recognition:
    """The network whose structure the shapes have, and the options that show in them.

    One whose depths, width, groups or stem are those of no name is the most like one with these as options.
    """
    try:
        structure, width = measure(shapes)
        in_channels = shapes["conv1.weight" if "conv1.weight" in shapes else "conv1.0.weight"][1]
        num_classes = classes_of(shapes, structure.features(width))
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(advice(shapes)) from error
    if in_channels < 1:
        raise WeightsError("no network has 0 input channels")
    check_stages(shapes, structure, width)
    names = [name for name, entry in FAMILY.items() if (entry.structure, usual(entry, "width")) == (structure, width)]
    names = names or [most_alike(structure, width)]
    name, options, alternatives = resolve(names, shapes)
    options |= (
        sizes(FAMILY[name], structure, width, shapes) | stem(FAMILY[name], structure) | before(FAMILY[name], shapes)
    )
    preset = FAMILY[name].preprocessing
    if f"{name}:V1" in catalogue.ENTRIES:
        preset = catalogue.find(name).preprocessing
    as_published = not options and not stem_and_gates(shapes)
    if as_published and f"{name}:V2" in catalogue.ENTRIES:
        alternatives += ("the preprocessing imagenet-v2, of torchvision's V2 weights",)
    linear = linear_layers(shapes)
    return Recognition(
        name,
        num_classes,
        in_channels,
        "torchvision",
        options,
        preset,
        alternatives=alternatives,
        changes=head_changes(linear),
        notes=(UNSEEN + BEFORE * structure.before, *assumed(linear)),
    )


def classes_of(shapes: Shapes, features: int) -> int:
    """The number of classes, 0 where there is no classifier."""
    linear = [shapes[f"{place}.weight"] for place in linear_layers(shapes)]
    if not linear:
        return 0
    count, taken = linear[-1][0], linear[0][1]
    if taken != features:
        raise WeightsError(f"the classifier takes {taken} numbers, and the last stage gives {features}")
    if count < 1:
        raise WeightsError("no network has 0 classes")
    return count


def check_stages(shapes: Shapes, structure: Structure, width: int) -> None:
    """Raise WeightsError unless each stage is twice as wide as the one before, and the stem one of the family's."""
    last = "conv3" if structure.expansion == 4 else "conv2"
    outs = [shapes.get(f"layer{s}.0.{last}.weight", (0,))[0] for s in range(1, len(structure.depths) + 1)]
    wanted = [width * structure.expansion * 2**s for s in range(len(outs))]
    if outs != wanted:
        raise WeightsError(
            f"no network of the family has the stages {structure.depths} of {', '.join(map(str, outs))} channels: each "
            "is twice as wide as the one before; is a block missing?"
        )
    check_channels(shapes, structure, width)
    if structure.stem_kernel not in STEMS:
        side = structure.stem_kernel
        raise WeightsError(f"its first convolution is {side}×{side}; the family begins with 7×7, 5×5, 3×3 or three 3×3")


def check_channels(shapes: Shapes, structure: Structure, width: int) -> None:
    """Raise WeightsError unless the convolutions inside the blocks of a stage have the same channels in all."""
    for key, shape in shapes.items():
        found = INNER.fullmatch(key)
        if found and (found[2] == "1" or structure.expansion == 4):
            inner = width * 2 ** (int(found[1]) - 1)
            wanted = inner if structure.expansion == 1 else inner * structure.base_width // 64 * structure.groups
            if shape[0] != wanted:
                raise WeightsError(f"{key} gives {shape[0]} channels, and the others of its kind {wanted}: pruned?")


def usual(entry: Entry, size: str) -> Any:
    """A size of the network that the name means."""
    return entry.build.keywords.get(size, {"width": 64, "groups": 1, "base_width": 64}.get(size))


def most_alike(structure: Structure, width: int) -> str:
    """The name whose network differs from the structure in the fewest sizes; the stem says which decade it is of."""

    def distance(name: str) -> tuple[bool, ...]:
        entry = FAMILY[name]
        theirs = entry.structure
        return (
            (theirs.expansion, theirs.before) != (structure.expansion, structure.before),
            "shortcut" in entry.unread() and not structure.before,
            len(theirs.depths) != len(structure.depths),
            theirs.depths != structure.depths,
            (theirs.groups, theirs.base_width) != (structure.groups, structure.base_width),
            (theirs.groups, theirs.base_width) != (1, 64),
            theirs.stem_kernel != structure.stem_kernel,
        )

    return min(FAMILY, key=distance)


def sizes(entry: Entry, structure: Structure, width: int, shapes: Shapes) -> dict[str, Any]:
    """The sizes in which the network differs from the one of that name."""
    found = {"depths": structure.depths, "width": width}
    if structure.expansion == 4 and not structure.before:
        found |= {"groups": structure.groups, "base_width": structure.base_width}
    elif structure.groups != 1:
        raise WeightsError(f"its 3×3 convolutions have {structure.groups} groups, which only bottlenecks have here")
    first = shapes.get("conv1.weight", (width,))[0]
    found |= {"stem_channels": first} if first != width else {}
    return {name: value for name, value in found.items() if usual(entry, name) != value}


def stem(entry: Entry, structure: Structure) -> dict[str, Any]:
    """The stem, where it is not that of the name."""
    if structure.stem_kernel == entry.structure.stem_kernel:
        return {}
    kernel = STEMS[structure.stem_kernel]
    if kernel == "3x3":
        return {"stem": kernel, "pool": "none"}
    return {"stem": kernel, "pool": "padded", **({"stem_stride": 2} if kernel == "5x5" else {})}


def before(entry: Entry, shapes: Shapes) -> dict[str, Any]:
    """The details of a pre-activation network that show in its norms."""
    if not entry.structure.before:
        return {}
    stem_norm, first, final = ("bn1.weight" in shapes, "layer1.0.bn1.weight" in shapes, "bn.weight" in shapes)
    found: dict[str, Any] = {"stem_norm": stem_norm, "final_norm": final}
    last = "conv3" if entry.structure.expansion == 4 else "conv2"
    if f"layer1.0.{last}.bias" in shapes:
        found["bare_bias"] = True
    if not final or (stem_norm and first):
        found["first_block"] = "as-others"
    defaults = {"stem_norm": True, "final_norm": True, **entry.defaults}
    return {name: value for name, value in found.items() if defaults.get(name) != value}


def resolve(names: list[str], shapes: Shapes) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """(name, options, alternatives) for the names of one structure: as the shapes decide, then by the default."""
    options: dict[str, Any] = {"conv_bias": True} if "layer1.0.conv1.bias" in shapes else {}
    if not any(key.endswith("running_mean") for key in shapes):
        options["norm"] = "group"
    plain = tuple(name for name in names if "shortcut" in FAMILY[name].unread())  # no shortcuts, or all of one kind
    name, alternatives = next((name for name in names if name not in plain), names[0]), ()
    if name not in plain:
        shortcut = shortcut_of(shapes)
        as_usual = shortcut == FAMILY[name].defaults.get("shortcut", Dialect.shortcut)
        if shortcut == "A" and plain and not as_usual:
            return plain[0], options, (f"{name} with shortcut='A'", f"{name} with shortcut='A-appended'")
        options |= {} if as_usual else {"shortcut": shortcut}
        alternatives = (f"{name} with shortcut='A-appended'", *plain) if shortcut == "A" else ()
    if "layer1.0.conv3.weight" in shapes:
        alternatives += (f"{name} with stride_on='1x1' (v1)",)
    return name, options, alternatives


def shortcut_of(shapes: Shapes) -> str:
    """The shortcuts' option as far as shapes show it: A projects nowhere, C in every block.

    B projects where shapes change, B-leading also in a first block whose shape does not.
    """
    projected = {key.partition(".downsample.")[0] for key in shapes if ".downsample." in key}
    if not projected:
        return "A"
    if any(not block.endswith(".0") for block in projected):
        return "C"
    return "B-leading" if "layer1.0" in projected and unchanged(shapes) else "B"


def unchanged(shapes: Shapes) -> bool:
    """Whether the first block has as many output as input channels."""
    last = "layer1.0.conv3.weight" if "layer1.0.conv3.weight" in shapes else "layer1.0.conv2.weight"
    return shapes[last][0] == shapes["layer1.0.conv1.weight"][1]
