"""Groups named arrays into layers: convolutions, norms, linear ones, and what is none of them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ...models.structure import Shapes
from .names import components, in_order, split_role, without_collection

LAYOUTS = {"OIHW": (0, 1, 2, 3), "HWIO": (3, 2, 0, 1), "OHWI": (0, 3, 1, 2)}  # axes that make each the first
STATISTICS = ("mean", "var")

Scope = tuple[str, ...]  # the components with which paths begin


@dataclass
class Layer:
    """Arrays that belong together.  ``keys``: role → the array's name;  ``shape``: of the weight, as torch has it."""

    path: str
    kind: str  # "conv", "norm", "linear", "channels" (a convolution along them) or "other"
    keys: dict[str, str] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    axes: tuple[int, ...] | None = None  # the transposition that makes the weight torch's
    position: int = 0  # in the order of the network, as far as the names and the file tell it

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The components of its path."""
        return components(self.path)

    def within(self, scope: Scope) -> bool:
        """Whether its path begins with these components."""
        return self.parts[: len(scope)] == scope

    @property
    def out(self) -> int:
        return self.shape[0]

    @property
    def channels(self) -> int:
        """The input channels of a group."""
        return self.shape[1]

    @property
    def kernel(self) -> int:
        return self.shape[2]


def layers_of(shapes: Shapes) -> list[Layer]:
    """The layers in the order of a network.  A layer with a weight of one axis alone is a norm."""
    named = [(key, *split_role(without_collection(key))) for key in shapes]
    unsaid = [entry for entry in named if entry[2] == ""]
    if any(len(shapes[key]) == 4 for key, _, _ in unsaid):
        said = [entry for entry in named if entry[2]]
        named = said + by_position(unsaid, shapes)
    grouped: dict[str, dict[str, str]] = {}
    for key, path, role in named:
        path, role = apart(grouped.get(path, {}), shapes, path, role)
        while role in grouped.get(path, {}):  # one more array of that role: a layer of its own
            path += "'"
        grouped.setdefault(path, {})[role or "other"] = key
    order = in_order(grouped)
    paths = list(grouped)
    layers = [made(paths[i], grouped[paths[i]], shapes) for i in order]
    set_layout(layers)
    for i, layer in enumerate(layers):
        layer.position = i
    return with_halves_joined(layers)


def apart(present: Mapping[str, str], shapes: Shapes, path: str, role: str) -> tuple[str, str]:
    """(path, role): a norm that has the path of a convolution gets one of its own."""
    beside = len(shapes.get(present.get("weight", ""), ())) == 4
    return (f"{path}.norm", role) if beside and role in STATISTICS else (path, role)


def by_position(named: Iterable[tuple[str, str, str]], shapes: Shapes) -> list[tuple[str, str, str]]:
    """(key, path, role) of arrays whose names say no role: a weight, the vectors behind it, in torch's order.

    Their order is that of the file, or that of the numbers where the names differ in nothing else.
    """
    keys = [key for key, _, _ in named if shapes[key]]  # a number alone is a counter
    if len({re.sub(r"\d+", "", key) for key in keys}) == 1:
        keys = [keys[i] for i in in_order(keys)]
    result, i = [], 0
    while i < len(keys):
        run = 1
        while len(shapes[keys[i]]) == 1 and i + run < len(keys) and shapes[keys[i + run]] == shapes[keys[i]]:
            run += 1
        group = keys[i : i + run]
        if len(shapes[group[0]]) != 1:
            result.append((group[0], f"{i}", "weight"))
        else:
            roles = ("weight", "bias", *STATISTICS) if run in (4, 5) else ("weight", "bias") if run == 2 else ()
            rest = group[len(group) - len(roles) :] if roles else []
            result += [(key, f"{i - 1}", "bias") for key in group[: run - len(rest)]]
            result += [(key, f"{i}.norm", role) for key, role in zip(rest, roles)]
        i += run
    return result


def made(path: str, keys: dict[str, str], shapes: Shapes) -> Layer:
    """A layer, as the number of axes of its weight says."""
    weight = shapes.get(keys.get("weight", ""))
    if weight is not None and len(weight) in (2, 4) and min(weight) > 0:
        return Layer(path, "conv" if len(weight) == 4 else "linear", keys, tuple(weight))
    if weight is not None and len(weight) == 3 and weight[:2] == (1, 1) and weight[2] % 2:
        return Layer(path, "channels", keys, tuple(weight))
    if not ("weight" in keys or {*STATISTICS} <= keys.keys()):  # constants of an image's normalisation, counters
        return Layer(path, "other", keys)
    vectors = [shapes[keys[role]] for role in ("weight", "bias", *STATISTICS) if role in keys]
    if vectors and len(vectors[0]) == 1 and all(shape == vectors[0] for shape in vectors) and vectors[0][0] > 0:
        return Layer(path, "norm", keys, tuple(vectors[0]))
    return Layer(path, "other", keys, tuple(weight or ()))


def set_layout(layers: list[Layer]) -> None:
    """Turn all kernels to torch's layout (out, in, height, width), if they are in another."""
    convs = [layer for layer in layers if layer.kind == "conv"]
    for axes in LAYOUTS.values():
        turned = [tuple(layer.shape[a] for a in axes) for layer in convs]
        if all(kh == kw <= 11 and kh % 2 for _, _, kh, kw in turned):
            for layer, shape in zip(convs, turned):
                layer.shape, layer.axes = shape, None if axes == (0, 1, 2, 3) else axes
            break
    if convs and convs[0].axes:
        for layer in layers:
            if layer.kind == "linear":
                layer.shape, layer.axes = layer.shape[::-1], (1, 0)


def with_halves_joined(layers: list[Layer]) -> list[Layer]:
    """The layers with one norm in the place of two of which one holds the statistics, the other gamma and beta.

    Caffe and some ports keep them apart; they stand in one order, and their sizes agree.
    """
    norms = [layer for layer in layers if layer.kind == "norm"]
    statistics = [layer for layer in norms if "mean" in layer.keys and not {"weight", "bias"} & layer.keys.keys()]
    affine = [layer for layer in norms if "mean" not in layer.keys and {"weight", "bias"} <= layer.keys.keys()]
    if not statistics or [layer.shape for layer in statistics] != [layer.shape for layer in affine]:
        return layers
    for half, other in zip(statistics, affine):
        half.keys = {**half.keys, **{role: other.keys[role] for role in ("weight", "bias")}}
    gone = {id(layer) for layer in affine}
    return [layer for layer in layers if id(layer) not in gone]
