"""What a whole saved network says beyond its arrays: strides, dilation, eps, activations, pooling.

A pickled module and an ONNX graph describe each layer.  Where all layers of a kind agree that is an option of the
network; what is left is a list of changed layers (models/changes.py).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..formats.errors import WeightsError, quoted
from ..formats.state import Layer
from ..models import FAMILY, build
from ..models.dialects import ACTIVATIONS as OURS
from ..nn import AvgPool2d, BatchNorm2d, Conv2d, Module
from .from_shapes import UNSEEN
from .hidden_layers import recorded_activations, with_hidden, without_hidden
from .match.names import components
from .recognition import Recognition
from .recorded_windows import dilation_of, listed, pair, shortest, side, sides, stride_of

ACTIVATIONS = {"ReLU": "relu", "LeakyReLU": "leaky_relu", "GELU": "gelu", "SiLU": "silu", "Swish": "silu"}
OTHER_ACTIVATIONS = ("PReLU", "ELU", "CELU", "SELU", "ReLU6", "Mish", "Hardswish", "Softplus", "RReLU", "FReLU", "ACON")
CLASSES = {kind: OURS[name].__name__ for kind, name in ACTIVATIONS.items()}
POOLS = ("MaxPool2d", "AvgPool2d", "LPPool2d", "FractionalMaxPool2d")


def with_layers(found: Recognition, layers: Mapping[str, Layer], paths: Mapping[str, str]) -> Recognition:
    """``found``, made from shapes, as the layers say it is.  ``paths``: our path of a layer → the file's.

    Raises WeightsError where a layer is of a kind that the family has not.
    """
    ours = {place: layers[path] for place, path in paths.items() if path in layers}
    if not any(layer.kind == "Conv2d" and "stride" in layer.options for layer in ours.values()):
        return found  # TorchScript keeps them in its program
    options = found.options | norm_options(ours) | activation_options(without_hidden(layers, paths))
    options |= stride_options(ours, found) | shortcut_options(layers)
    pool, change = pooling(found, layers, ours)
    options |= pool
    options |= padding_options(ours) | {"softmax": any(layer.kind == "Softmax" for layer in layers.values())}
    shortcuts = tuple(other for other in found.alternatives if "shortcut=" in other)  # made by functions
    padded = any(layer.kind == "ZeroPadChannels" for layer in layers.values())
    found = replace(
        found.with_options(options),
        alternatives=() if padded else shortcuts,
        notes=tuple(n for n in found.notes if not n.startswith(UNSEEN)),
    )
    found = with_hidden(found, recorded_activations(layers, paths, CLASSES))
    changes = found.changes + change + tuple(changed_layers(found, ours, layers, paths))
    if has(layers, ("Add",)):  # a graph, which says all
        return replace(found, changes=changes)
    inside = ("what a projection and the first block's shortcut read is in its program: projection_of, first_block",)
    before = inside if FAMILY[found.name].structure.before else ()
    unsaid = [word for word, kinds in (("activation", ACTIVATIONS), ("pooling", POOLS)) if not has(layers, kinds)]
    notes = (f"the file holds no module for the {' and the '.join(unsaid)}; taken as usual",) if unsaid else ()
    return replace(found, changes=changes, notes=found.notes + notes + before)


def has(layers: Mapping[str, Layer], kinds: Any) -> bool:
    return any(layer.kind in kinds for layer in layers.values())


def norm_options(ours: Mapping[str, Layer]) -> dict[str, Any]:
    """eps, momentum, or the groups of group norms."""
    norms = [layer for layer in ours.values() if "Norm" in layer.kind]
    kinds = {layer.kind for layer in norms}
    if "GroupNorm" in kinds:
        groups = {layer.options.get("num_groups") for layer in norms}
        if len(kinds) > 1 or len(groups) > 1:
            raise WeightsError("its norms are of several kinds, or group norms of several numbers of groups")
        return {"norm": "group", "norm_groups": groups.pop(), **common(norms, "eps", 1e-5)}
    other = kinds - {"BatchNorm2d", "FrozenBatchNorm2d", "SyncBatchNorm", "BatchNormAct2d"}
    if other:
        raise WeightsError(
            f"its norms are {', '.join(map(quoted, sorted(other)))}; the family has batch and group norms"
        )
    return common(norms, "eps", 1e-5) | common(norms, "momentum", 0.1)


def common(layers: list[Layer], name: str, usual: float) -> dict[str, Any]:
    """The option that all layers have, where it is not the usual one."""
    values = {layer.options.get(name, usual) for layer in layers}
    value = values.pop() if len(values) == 1 else usual
    fits = type(value) is float and 0 <= value <= 1 and value != usual
    return {name: value} if fits else {}


def activation_options(layers: Mapping[str, Layer]) -> dict[str, Any]:
    """The activation, where it is no ReLU; those of gates and heads are passed over."""
    kinds = [layer for layer in layers.values() if layer.kind in ACTIVATIONS]
    other = next((layer.kind for layer in layers.values() if layer.kind in OTHER_ACTIVATIONS), None)
    names = {ACTIVATIONS[layer.kind] for layer in kinds}
    tanh = any(layer.kind == "GELU" and layer.options.get("approximate", "none") != "none" for layer in kinds)
    if other or len(names) > 1 or tanh:
        what = other or (" and ".join(sorted(names)) if len(names) > 1 else "GELU by tanh")
        raise WeightsError(f"its activations are {what}; the family has one of relu, leaky_relu, gelu (exact) and silu")
    name = names.pop() if names else "relu"
    if name == "relu":
        return {}
    slopes = {layer.options.get("negative_slope", 0.01) for layer in kinds}
    if len(slopes) > 1:
        raise WeightsError(f"its leaky ReLUs have {len(slopes)} slopes; the family has one")
    return {"activation": name} | ({"negative_slope": float(slopes.pop())} if name == "leaky_relu" else {})


def stride_options(ours: Mapping[str, Layer], found: Recognition) -> dict[str, Any]:
    """The stem's stride; the convolution of a bottleneck that downsamples; by how much the stages do."""
    options: dict[str, Any] = {}
    first = stride_of(ours.get("conv1") or ours.get("conv1.0"))
    stem = found.options.get("stem", FAMILY[found.name].defaults.get("stem"))
    usual = 1 if stem in ("3x3", "5x5") else 2
    if first in (1, 2) and (first != usual or "stem_stride" in found.options):
        options["stem_stride"] = first
    stages = [f"layer{s}.0." for s in range(2, 8) if f"layer{s}.0.conv1" in ours]
    if any(stride_of(ours.get(f"{stage}conv1")) == 2 for stage in stages) and "layer1.0.conv3" in ours:
        options["stride_on"] = "1x1"
    strides = [max(stride_of(ours.get(f"{stage}conv{n}")) for n in (1, 2)) for stage in stages]
    dilated = [max(dilation_of(ours.get(f"{stage}conv{n}")) for n in (1, 2)) for stage in stages]
    if 1 in strides and set(strides[strides.index(1) :]) == {1} and any(d > 1 for d in dilated):
        reached = 4 * 2 ** strides.index(1)
        options |= {"output_stride": reached} if reached in (8, 16) else {}
    return options


def padding_options(ours: Mapping[str, Layer]) -> dict[str, Any]:
    """Whether the convolutions that leave pixels out pad as TensorFlow does; at stride 1 both ways are one."""
    wide = [layer for layer in ours.values() if layer.kind == "Conv2d" and side(layer, "kernel_size") > 1]
    paddings = {layer.options.get("padding") for layer in wide if stride_of(layer) > 1}
    return {"padding": "same" if paddings == {"same"} else "explicit"} if paddings else {}


def shortcut_options(layers: Mapping[str, Layer]) -> dict[str, Any]:
    """Where shortcuts append zero channels, at the end or on both sides."""
    pads = [layer.options for layer in layers.values() if layer.kind == "ZeroPadChannels"]
    if not pads:
        return {}
    return {"shortcut": "A-appended" if all(pad.get("before") == 0 for pad in pads) else "A"}


def pooling(
    found: Recognition, layers: Mapping[str, Layer], ours: Mapping[str, Layer]
) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """(the option "pool", the changed layer) of the stem's pooling: the one that stands in no block."""
    blocks = {components(path)[:-1] for path, layer in layers.items() if layer in ours.values()} - {()}
    pools = [
        layer
        for path, layer in layers.items()
        if layer.kind in POOLS and components(path)[:-1] not in blocks and side(layer, "kernel_size") != 1
    ]
    other = next((layer.kind for layer in layers.values() if layer.kind == "AdaptiveMaxPool2d"), None)
    pools = [layer for layer in pools if not is_global(layer)]
    graph = has(layers, ("Add",))  # which graph_check.py compares whole
    if other or (len(pools) > 1 and not graph):
        what = f"a {other}" if other else f"{len(pools)} poolings, one of them behind the stem"
        raise WeightsError(f"it has {what}; the family pools in its stem and takes the mean before the classifier")
    if graph and "layer1.0.conv1" in ours:  # where layers stand as they run
        places = {id(layer): place for place, layer in enumerate(layers.values())}
        pools = [pool for pool in pools if places[id(pool)] < places[id(ours["layer1.0.conv1"])]]
    if not pools:
        identity = any(layer.kind == "Identity" and path.endswith("maxpool") for path, layer in layers.items())
        usual = FAMILY[found.name].defaults.get("pool")
        return ({"pool": "none"} if identity and usual != "none" else {}), ()
    pool = pools[0].options
    kernel, stride = side(pools[0], "kernel_size"), side(pools[0], "stride") or side(pools[0], "kernel_size")
    padding, ceil = pool.get("padding", 0), bool(pool.get("ceil_mode", False))
    padding = "same" if padding == "same" else sides(padding)
    known = {
        (3, 2, ((1, 1), (1, 1)), False): "padded",
        (3, 2, ((0, 0), (0, 0)), True): "ceil",
        (3, 2, "same", False): "same",
    }
    name = known.get((kernel, stride, padding, ceil)) if pools[0].kind == "MaxPool2d" else None
    if name:
        return {"pool": name}, ()
    options = {"kernel": kernel, "stride": stride, "padding": listed(padding), "ceil_mode": ceil}
    if pools[0].kind == "AvgPool2d":
        options["count_include_pad"] = bool(pool.get("count_include_pad", True))
    elif pools[0].kind != "MaxPool2d":
        raise WeightsError(f"its stem pools by a {pools[0].kind}, which the family has not")
    return {"pool": "padded"}, ({"path": "maxpool", "class": pools[0].kind, "options": options},)


def is_global(layer: Layer) -> bool:
    """Whether an average pooling is so large, or so far behind, that it is the one before the classifier."""
    return layer.kind == "AvgPool2d" and side(layer, "kernel_size") >= 4


def changed_layers(
    found: Recognition,
    ours: Mapping[str, Layer],
    layers: Mapping[str, Layer] = MappingProxyType({}),
    paths: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The convolutions and batch norms that the options do not make as the file has them."""
    model = build(found.name, found.num_classes, in_channels=found.in_channels, dialect=found.dialect, **found.options)
    parts = parts_by_path(model)
    entries = list(averaging(ours, layers, paths, parts))
    for path, layer in ours.items():
        part = parts.get(path)
        if isinstance(part, Conv2d) and layer.kind == "Conv2d":
            entries += convolution(path, part, layer)
        elif isinstance(part, BatchNorm2d):
            eps = layer.options.get("eps", part.eps)
            if not math.isclose(eps, part.eps, rel_tol=1e-6):
                options = {"eps": float(eps), "momentum": part.momentum, "unbiased": part.unbiased, "frozen": False}
                entries.append({"path": path, "class": "BatchNorm2d", "options": options})
    return entries


def averaging(
    ours: Mapping[str, Layer], layers: Mapping[str, Layer], paths: Mapping[str, str], parts: Mapping[str, Module]
) -> Iterator[dict[str, Any]]:
    """The poolings of shortcuts that are other than the options make them."""
    for path in ours:
        theirs = layers.get(paths.get(path, path).removesuffix("1") + "0") if path.endswith("downsample.1") else None
        part = parts.get(path.removesuffix("1") + "0")
        if theirs is None or theirs.kind not in ("AvgPool2d", "Identity") or isinstance(part, Conv2d):
            continue
        place = path.removesuffix("1") + "0"
        if theirs.kind == "Identity":
            yield {"path": place, "class": "Identity", "options": {}}
            continue
        kernel = side(theirs, "kernel_size")
        options = {
            "kernel": kernel,
            "stride": side(theirs, "stride") or kernel,
            "padding": listed(sides(theirs.options.get("padding", 0))),
            "ceil_mode": bool(theirs.options.get("ceil_mode", False)),
            "count_include_pad": bool(theirs.options.get("count_include_pad", True)),
        }
        own = part.static if isinstance(part, AvgPool2d) else {}
        if not own or any(own.get(name, value) != value for name, value in options.items()):
            yield {"path": place, "class": "AvgPool2d", "options": options}


def parts_by_path(model: Module, prefix: str = "") -> dict[str, Module]:
    """path → part, of all parts."""
    found = {}
    for name, part in model.children().items():
        found |= {f"{prefix}{name}": part, **parts_by_path(part, f"{prefix}{name}.")}
    return found


def convolution(path: str, part: Conv2d, layer: Layer) -> list[dict[str, Any]]:
    """The entry that makes ``part`` into the recorded convolution, if they differ."""
    mode = layer.options.get("padding_mode", "zeros")
    if mode != "zeros":
        raise WeightsError(f"{path} pads by {quoted(mode)}; the family pads by zeros")
    dilation, stride = pair(layer.options.get("dilation", 1)), pair(layer.options.get("stride", 1))
    padding = layer.options.get("padding", 0)
    kernel = part.weight.value.shape[2:]
    if padding == "same" and (stride == (1, 1) or kernel == (1, 1)):  # torch's and TensorFlow's agree
        padding = tuple(d * (k // 2) for d, k in zip(dilation, kernel))
    padding = 0 if padding == "valid" else padding
    theirs = "same" if padding == "same" else sides(padding)
    own = part.padding
    if own == "same" and (pair(part.stride) == (1, 1) or kernel == (1, 1)):
        own = tuple(d * (k // 2) for d, k in zip(pair(part.dilation), kernel))
    if (pair(part.stride), pair(part.dilation), own if own == "same" else sides(own)) == (stride, dilation, theirs):
        return []
    options = {
        "stride": shortest(stride),
        "padding": listed(theirs),
        "dilation": shortest(dilation),
        "groups": part.groups,
    }
    return [{"path": path, "class": "Conv2d", "options": options}]
