"""A network that was recognised in an ONNX file, held to the file's graph, layer by layer.

The graph is the whole program, so that nothing need be guessed: the network is written as a graph itself, read by the
same reader, and both must be the same layers.  Where the shapes left a choice, the choice that fits is taken.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from ..formats.errors import WeightsError
from ..formats.onnx import graph
from ..formats.onnx.layers import state_of
from ..formats.state import Layer
from ..formats.stream import Budget
from ..formats.tensors import Storage, Tensor
from ..models import FAMILY, Spec, rebuild
from ..models.structure import Shapes
from ..nn import Module
from .hidden_layers import of_head
from .keys.placement import behind_pooling, placed
from .onnx_graph import Graph, Value
from .recognition import Recognition
from .recorded import changed_layers

NO_SCORES = ("Dropout",)
CHOICES: dict[str, tuple[Any, ...]] = {  # details that leave no trace in the arrays; the first is the usual one
    "pool": ("padded", "zeros", "none"),
    "stem": ("7x7", "pool-first", "bare"),
    "stem_norm": (True, False),
    "stride_in": ("first", "last"),
    "avg_down": (False, True),
    "antialias": ("none", "average", "blur"),
    "first_block": ("paper", "as-others"),
    "projection_of": ("activated", "x"),
    "relu_before_sum": (False, True),
    "output_stride": (32, 16, 8),
}
MOST = 4  # of them that may differ from what was recognised


class Step(NamedTuple):
    """A layer, and the numbers of the layers that it reads, −1 for the images."""

    kind: str
    options: tuple[tuple[str, Any], ...]
    reads: tuple[int, ...]


class Candidate(NamedTuple):
    """A network that may be the file's: as many of its first layers as are the file's, and its first other layer."""

    found: Recognition
    right: int
    difference: str


def held_to_graph(
    found: Recognition, layers: Mapping[str, Layer], ours: Mapping[str, Layer], shapes: Shapes
) -> Recognition:
    """``found``, or the network beside it that has the file's layers.  ``ours``: our path → the layer in the file.

    One detail after another is changed, each time the one with which the most layers are right.  Raises WeightsError
    where that leads to no network with the file's layers.
    """
    wanted = steps(layers)
    best = first = compared(found, ours, shapes, wanted)
    for _ in range(MOST):
        if best.right == len(wanted) and not best.difference:
            return best.found
        others = [
            compared(other, ours, shapes, wanted)
            for other in beside(best.found, any(step.kind == "Add" for step in wanted))
        ]
        better = max(others, key=lambda other: (other.right, not other.difference), default=best)
        if better.right <= best.right and better.difference:
            break
        best = better
    if not best.difference:
        return best.found
    raise WeightsError(f"its arrays fit {found.name}, its graph does not: {first.difference}")


def beside(found: Recognition, sums: bool) -> Iterator[Recognition]:
    """The networks that the same arrays fit and that differ from this one in a single detail."""
    unread = FAMILY[found.name].unread()
    if not sums and "shortcut" not in unread:
        plain = [name for name, entry in FAMILY.items() if entry.structure == FAMILY[found.name].structure]
        for name in (name for name in plain if "shortcut" in FAMILY[name].unread()):
            options = {key: value for key, value in found.options.items() if key not in FAMILY[name].unread()}
            yield replace(found, name=name, options=options)
    for name, values in CHOICES.items():
        now = found.options.get(name, values[0])
        for value in values if name not in unread and now in values else ():
            others = {key: old for key, old in found.options.items() if key != name}
            if value != now:
                yield replace(found, options=others if value == values[0] else {**others, name: value})


def compared(found: Recognition, ours: Mapping[str, Layer], shapes: Shapes, wanted: list[Step]) -> Candidate:
    """The network with the file's options of single layers, and how far its layers are the file's."""
    if found.options.get("avg_down") and not any(".downsample.2." in key for key in shapes):
        shapes, ours = behind_pooling(shapes), behind_pooling(ours)
    try:
        pool = usual_pool(found)
        kept = tuple(change for change in found.changes if of_head(change) or (change["path"] == "maxpool" and pool))
        found = replace(found, changes=(*kept, *changed_layers(found, ours)))
        own = steps(layers_of(found, shapes))
        if not found.num_classes and own[-1] not in wanted:  # the trunk alone, whose pixels we average
            own.pop()
    except (ValueError, KeyError) as error:  # it cannot be built so, or is no place for these arrays
        return Candidate(found, -1, str(error))
    for i, (mine, theirs) in enumerate(zip_longest(own, wanted)):
        if mine != theirs:
            return Candidate(found, i, f"layer {i} of it is {said(theirs)}, and would be {said(mine)}")
    return Candidate(found, len(wanted), "")


def usual_pool(found: Recognition) -> bool:
    """Whether the stem has a pooling of its own that may be another one."""
    return (found.options.get("pool", "padded"), found.options.get("antialias", "none")) == ("padded", "none")


def layers_of(found: Recognition, shapes: Shapes) -> dict[str, Layer]:
    """The layers of the network that is built so, as they are read of its own graph."""
    spec = Spec(found.name, found.num_classes, found.in_channels, found.dialect, dict(found.options))
    model = rebuild(spec, shapes, found.changes, ())
    keys = {key for key, _ in model.named_arrays() if not key.endswith("num_batches_tracked")}
    if keys != {key for key in placed(shapes, keys) if not key.endswith("num_batches_tracked")}:
        raise ValueError("its arrays have no place there")
    written = Written(model)
    last = written.visit(model, Value("images", spec.in_channels))
    nodes = [
        graph.Node(node.kind, "", node.output, list(node.inputs), [node.output], attributes(node.attributes))
        for node in written.nodes
    ]
    return state_of(graph.Graph(nodes, written.tensors, ["images"], [last.name]), Budget(0, 2**62)).layers


class Written(Graph):
    """A network's graph, of whose arrays only the shapes matter: each is one number, seen as of that shape."""

    def __init__(self, model: Module):
        super().__init__(model)
        self.zero = Storage("float32", 1).fill(bytes(4))
        self.tensors: dict[str, Tensor] = {}

    def array(self, name: str, array: Any) -> str:
        self.tensors[name] = Tensor(self.zero, 0, array.shape, (0,) * array.ndim)
        return name


def attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Tensor.of(v) if isinstance(v, np.ndarray) else v for name, v in values.items()}


def steps(layers: Mapping[str, Layer]) -> list[Step]:
    """What the layers compute, in a form in which equal networks are equal.

    A batch norm right behind a convolution is left out, for it may be part of it; its eps is held to the file's when
    the layers are compared one by one.  A pooling over a window of one pixel is a subsampling.
    """
    found: list[Step] = []
    numbers = {"": -1}
    for path, (kind, options) in layers.items():
        behind = bool(found) and found[-1].kind == "Conv2d" and "reads" not in options
        reads = tuple(sorted(numbers[read] for read in options["reads"])) if "reads" in options else (len(found) - 1,)
        if kind in NO_SCORES or (behind and kind == "BatchNorm2d"):
            numbers[path] = reads[0]
            continue
        if kind in ("MaxPool2d", "AvgPool2d") and options["kernel_size"] == (1, 1):
            kind, options = "Subsample", {"stride": options["stride"]}
        if kind == "BatchNorm2d":
            options = {"eps": float(f"{options['eps']:.6g}")}
        numbers[path] = len(found)
        plain = {name: value for name, value in options.items() if name != "reads"}
        found.append(Step(kind, tuple(sorted(plain.items())), reads))
    return found


def said(step: Step | None) -> str:
    if step is None:
        return "none"
    options = ", ".join(f"{name}={value}" for name, value in step.options)
    return f"{step.kind}({options}) of {' and '.join(map(str, step.reads))}"
