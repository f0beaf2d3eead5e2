"""The layers of a network that were changed after it was built, as a list of plain values, and back.

    [{"path": "maxpool", "class": "Identity", "options": {}},
     {"path": "layer4.1.conv2", "class": "Conv2d", "options": {"stride": 1, "padding": 2, "dilation": 2, "groups": 1}}]

A layer's sizes are those of its arrays and are not listed.  Only the classes and options in ``LAYERS`` are written and
read, so that a list out of an untrusted file builds layers of this package, and those that a program has registered.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import nn
from ..nn.layers import Function
from ..nn.module import Model
from ..ops.check import PADDINGS

MOST = 4096  # of pixels or channels in an option: more is an accident or an attack
DEEPEST = 8  # names in a path
OPTIONAL = ("aa", "branch_relu", "maxpool", "se", "softmax")  # what a network or a block may do without
NO_SCORES = ("built", "classes", "notes", "preprocessing", "training")  # attributes that no score depends on


def count(value: Any, least: int = 1) -> bool:
    return type(value) is int and least <= value <= MOST


def size(value: Any, least: int = 1) -> bool:
    """An int, or a (vertical, horizontal) pair."""
    return count(value, least) or (type(value) is tuple and len(value) == 2 and all(count(v, least) for v in value))


def frame(value: Any) -> bool:
    """An int, a pair, or ((top, bottom), (left, right))."""
    return size(value, 0) or (
        type(value) is tuple and len(value) == 2 and all(type(v) is tuple and size(v, 0) for v in value)
    )


def padding(value: Any) -> bool:
    return value in PADDINGS or frame(value)


def amount(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def number(value: Any) -> bool:
    return type(value) in (int, float) and not math.isnan(value)


def fraction(value: Any) -> bool:
    return value is None or (amount(value) and value <= 1)


def flag(value: Any) -> bool:
    return type(value) is bool


def channels(value: Any) -> bool:
    return count(value, 0)


WINDOW = {"kernel": size, "stride": size, "padding": padding, "ceil_mode": flag}
LAYERS: dict[type, dict[str, Any]] = {  # class → its options, and what each may be
    nn.Conv2d: {"stride": size, "padding": padding, "dilation": size, "groups": count},
    nn.BatchNorm2d: {"eps": amount, "momentum": fraction, "unbiased": flag, "frozen": flag},
    nn.GroupNorm: {"groups": count, "eps": amount},
    nn.Linear: {},
    nn.ReLU: {},
    nn.LeakyReLU: {"negative_slope": amount},
    nn.GELU: {},
    nn.SiLU: {},
    nn.Softmax: {},
    nn.GlobalAvgPool2d: {},
    nn.Identity: {},
    nn.Sequential: {},
    nn.MaxPool2d: {**WINDOW, "dilation": size},
    nn.AvgPool2d: {**WINDOW, "count_include_pad": flag},
    nn.AdaptiveAvgPool2d: {"output_size": size},
    nn.ZeroPad2d: {"padding": frame},
    nn.ConstantPad2d: {"padding": frame, "value": number},
    nn.Subsample: {"stride": size},
    nn.BlurPool2d: {"stride": size},
    nn.ZeroPadChannels: {"before": channels, "after": channels},
}
CLASSES = {kind.__name__: kind for kind in LAYERS}
OURS = frozenset(CLASSES)


# -- from a network to a list ----------------------------------------------------------------------------------------


def changes(part: nn.Module | None, reference: nn.Module | None, path: str = "") -> Iterator[dict[str, Any]]:
    """The entries that make ``reference`` into ``part``, in the order in which ``apply`` takes them.

    Raises ValueError where ``part`` holds what no entry can describe.
    """
    if part is None:
        if reference is not None:
            yield {"path": path, "class": None, "options": {}}
        return
    refuse_shadows(part, path)
    if not alike(part, reference):
        yield entry_of(part, path)
        reference = type(part)() if type(part) is nn.Sequential else None
    ours, theirs = part.children(), reference.children() if reference else {}
    for name in {**theirs, **ours}:
        yield from changes(ours.get(name), theirs.get(name), f"{path}.{name}" if path else name)


def alike(part: nn.Module, reference: nn.Module | None) -> bool:
    """Whether they are one layer, apart from what stands inside them."""
    if reference is None or type(part) is not type(reference):
        return False
    if type(part) is nn.Sequential:  # parts may go, or come at the end
        ours, theirs = list(part.children()), reference.children()
        kept = [name for name in theirs if name in ours]
        return ours[: len(kept)] == kept
    if type(part) in LAYERS:
        return options_of(part) == options_of(reference) and sizes_of(part) == sizes_of(reference)
    return details_of(part) == details_of(reference) and part.children().keys() <= vars(reference).keys()


def entry_of(part: nn.Module, path: str) -> dict[str, Any]:
    """The entry that describes a layer."""
    kind, where = type(part).__name__, path or "the network"
    if type(part) not in LAYERS:
        raise ValueError(
            f"{where} is a {kind} that no option of create_model builds, and cannot be described; "
            "npresnet.models.register_layer makes a class of your own known"
        )
    if kind in OURS and set(sizes_of(part)) - {"bias"} != set(arrays_of(type(part))) - {"bias"}:
        raise ValueError(f"{where} has other arrays than a {kind} has: {', '.join(sizes_of(part)) or 'none'}")
    options = options_of(part)
    check_options(kind, options, where)
    return {"path": path, "class": kind, "options": listed(options)}


def arrays_of(kind: type) -> tuple[str, ...]:
    return {
        nn.Conv2d: ("weight",),
        nn.Linear: ("weight",),
        nn.GroupNorm: ("weight", "bias"),
        nn.BatchNorm2d: ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
    }.get(kind, ())


def sizes_of(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    """name → shape of a layer's own arrays."""
    return {
        name: array.value.shape for name, array in vars(layer).items() if isinstance(array, (nn.Parameter, nn.Buffer))
    }


def options_of(layer: nn.Module) -> dict[str, Any]:
    options = layer.static if isinstance(layer, Function) else {n: getattr(layer, n) for n in LAYERS[type(layer)]}
    return {name: tupled(value.item() if isinstance(value, np.generic) else value) for name, value in options.items()}


def details_of(block: nn.Module) -> dict[str, Any]:
    """The plain values by which a network or a block decides what follows what, and which parts it has."""
    held = (nn.Module, nn.Parameter, nn.Buffer, type(None))
    return {name: value for name, value in vars(block).items() if name not in NO_SCORES and not isinstance(value, held)}


def refuse_shadows(part: nn.Module, path: str) -> None:
    """Raise where an attribute hides one of the class, such as a method; others, and ``ranks``, change no score."""
    allowed = {"training", "ranks", *LAYERS.get(type(part), ())}
    for name in vars(part):
        if hasattr(type(part), name) and name not in allowed:
            raise ValueError(f"{path or 'the network'} has a {name} of its own, which cannot be described")


def refuse_shared(model: nn.Module) -> None:
    """Raise where one parameter or buffer stands in two places: it would come back as two."""
    seen: dict[int, str] = {}
    for key, array in model.named_arrays():
        first = seen.setdefault(id(array), key)
        if first != key:
            raise ValueError(f"{key} and {first} are one and would come back as two; put a deepcopy in place of one")


# -- from a list to a network ----------------------------------------------------------------------------------------


def apply(model: Model, entries: Iterable[Any], shapes: Mapping[str, tuple[int, ...]]) -> Model:
    """Make the changes, in place; ``shapes`` (key → shape) are those of the arrays that the model will be given.

    ``entries`` may be anything that JSON holds.  Raises ValueError.
    """
    seen = set()
    for entry in entries:
        path = entry["path"] if is_entry(entry) else None
        if path is None or path in seen or path.count(".") >= DEEPEST:
            raise ValueError("an entry of the list of changed layers is none, or comes twice")
        seen.add(path)
        put(model, path, None if entry["class"] is None else layer_of(entry, shapes))
    return model


def is_entry(entry: Any) -> bool:
    return (
        type(entry) is dict
        and entry.keys() == {"path", "class", "options"}
        and type(entry["path"]) is str
        and type(entry["class"]) in (str, type(None))
        and type(entry["options"]) is dict
    )


def layer_of(entry: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """The layer that an entry describes, with its arrays all zero."""
    path, kind = entry["path"], entry["class"]
    options: dict[str, Any] = {name: tupled(value) for name, value in entry["options"].items()}
    check_options(kind, options, repr(path[:100]))
    sizes = {name: shapes.get(f"{path}.{name}") for name in (*arrays_of(CLASSES[kind]), "bias")}
    weight, bias = tuple(sizes.get("weight") or ()), sizes["bias"] is not None
    ndim = {"Conv2d": 4, "Linear": 2, "BatchNorm2d": 1, "GroupNorm": 1}.get(kind)
    if ndim and (len(weight) != ndim or 0 in weight):
        raise ValueError(f"there is no weight of {ndim} dimensions for the {kind} at {path[:100]!r}")
    if kind == "Conv2d":
        return nn.Conv2d(weight[1] * options["groups"], weight[0], (weight[2], weight[3]), **options, bias=bias)
    if kind == "Linear":
        return nn.Linear(weight[1], weight[0], bias=bias)
    if kind == "BatchNorm2d":
        frozen = options.pop("frozen")
        norm = nn.BatchNorm2d(weight[0], **options)
        return freeze(norm) if frozen else norm
    if kind == "GroupNorm":
        return nn.GroupNorm(options["groups"], weight[0], options["eps"])
    return CLASSES[kind](**options)


def freeze(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    norm.frozen = True
    return norm


def check_options(kind: str, options: Mapping[str, Any], where: str) -> None:
    """Exactly the options of the class, or those that a layer without weights was given; each of its kind."""
    if kind not in CLASSES:
        raise ValueError(f"{where} is of no class that is known here: {kind[:100]!r}")
    known = LAYERS[CLASSES[kind]]
    needed = (
        {"kernel", "stride", "before", "after", "output_size"} if issubclass(CLASSES[kind], Function) else known.keys()
    )
    if not known.keys() & needed <= options.keys() <= known.keys():
        raise ValueError(f"{where}: the options of a {kind} are {', '.join(known) or 'none'}")
    wrong = next((name for name, value in options.items() if not known[name](value)), None)
    if wrong:
        raise ValueError(f"{where}: {wrong} of a {kind} cannot be {str(options[wrong])[:60]!r}")


def put(model: nn.Module, path: str, layer: nn.Module | None) -> None:
    """Set the part of that name, which must be one that its parent runs."""
    *parents, name = path.split(".")
    parent = model
    for step in parents:
        parent = parent.children().get(step)
        if parent is None:
            raise ValueError(f"there is no part for {path[:100]!r} to stand in")
    free = type(parent) is nn.Sequential and name.isidentifier() | name.isdecimal() and not hasattr(parent, name)
    optional = name in OPTIONAL and name in vars(parent)
    if name not in parent.children() and not free and not optional:
        raise ValueError(f"there is no part {path[:100]!r} to change")
    if layer is not None or optional:
        setattr(parent, name, layer)
    elif type(parent) is nn.Sequential and name in parent.children():
        delattr(parent, name)
    else:
        raise ValueError(f"a network cannot be without its {path[:100]!r}")


def tupled(value: Any) -> Any:
    """The value with tuples for lists, all the way down; options nest twice."""
    return tuple(map(tupled, value)) if type(value) in (list, tuple) else value


def listed(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: listed_value(value) for name, value in options.items()}


def listed_value(value: Any) -> Any:
    return list(map(listed_value, value)) if type(value) is tuple else value
