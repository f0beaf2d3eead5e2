"""Finds the networks among arrays of any names: where each lies, what its layers are, what is no part of it."""

import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ...formats.errors import WeightsError, quoted
from ...models.structure import Shapes
from .blocks import Body, Effort, block_prefixes, bodies
from .gates import GATE, Gate, gates_of
from .heads import head_of
from .layers import Layer, layers_of
from .names import tail
from .norms import Norms, norms_of
from .relatives import refuse_relatives

NECK = re.compile(r"(^|[._/])(bottleneck|bn_?neck|neck|bnneck)([._/]|$)", re.IGNORECASE)
DIGITS = re.compile(r"\d+")
MOST_ARRAYS = 2**16  # that a file may hold: the deepest network has 7,000
FEWEST = 6  # convolutions in a network: a stem, three blocks of two; shortcuts aside
OPTIMIZER = re.compile(
    r"(^|[./_])(optim(izer)?s?|opt_state|lr_scheduler|grad_?scaler)[./_]|exp_avg|momentum_buffer|square_avg|[/.]Adam(_1)?$|[/.]Momentum$",
    re.IGNORECASE,
)

Scope = tuple[str, ...]


class Network(NamedTuple):
    """The layers of one network.  ``scope``: the components with which the names of all its blocks begin."""

    scope: Scope
    body: Body
    norms: Norms
    final: Layer | None
    before: bool  # pre-activation: norms stand before their convolutions
    gates: dict[int, Gate]  # the number of a block → its gate
    head: list[Layer]
    aside: list[str]  # the names of arrays that are no part of it

    @property
    def layers(self) -> list[Layer]:
        """All of its layers."""
        gates = [layer for gate in self.gates.values() for layer in gate.layers]
        final = [self.final] if self.final else []
        return [*self.body.layers, *self.norms.values(), *final, *gates, *self.head]


class Candidate(NamedTuple):
    """Convolutions that are the body of a network, in one reading or several, and where they lie."""

    scope: Scope
    readings: list[Body]

    @property
    def name(self) -> str:
        return ".".join(self.scope)


class Search:
    """The networks among arrays of these shapes, none inside another, in the order of the arrays: ``found``.

    ``identity`` of a name is equal for two names of one array; a network that is another under other names is left out.
    """

    def __init__(self, shapes: Shapes, identity: Callable[[str], Any] = lambda key: key):
        if len(shapes) > MOST_ARRAYS:
            raise WeightsError(f"holds {len(shapes):,} arrays; no network of the family has more than {MOST_ARRAYS:,}")
        self.shapes, effort = shapes, Effort()
        self.layers = layers_of({key: shape for key, shape in shapes.items() if not OPTIMIZER.search(key)})
        found = []
        for scope, convs in scopes(self.layers):
            inner = {id(conv) for gate in gates_of(convs, self.layers) for conv in gate.layers}
            readings = bodies([conv for conv in convs if id(conv) not in inner], effort)
            if readings:
                found.append(Candidate(scope, readings))
        found.sort(key=lambda candidate: (-len(candidate.readings[0].layers), -len(candidate.scope)))
        kept: list[Candidate] = []
        taken: set[int] = set()
        for candidate in found:
            mine = {id(conv) for conv in candidate.readings[0].layers}
            if taken.isdisjoint(mine):
                kept.append(candidate)
                taken |= mine
        position = {id(layer): i for i, layer in enumerate(self.layers)}
        kept.sort(key=lambda candidate: position[id(candidate.readings[0].stem[0])])
        self.found = kept if len(kept) < 2 else unlike(kept, identity)
        if not kept:
            refuse_relatives(self.layers, shapes)

    def with_norms(self, candidate: Candidate) -> Candidate:
        """The same, where all norms lie outside its convolutions' part of the tree in the part that has both."""
        scope = candidate.scope
        while scope and not any(layer.kind == "norm" and within(layer, scope) for layer in self.layers):
            scope = scope[:-1]
        return candidate._replace(scope=scope)

    def names_under(self, candidate: Candidate) -> set[str]:
        """The names of all arrays where a network lies."""
        length = len(candidate.scope)
        return {key for layer in self.layers if layer.parts[:length] == candidate.scope for key in layer.keys.values()}

    def network(self, candidate: Candidate) -> Network:
        """The network around a body.  Raises WeightsError with the reason where some of its layers have no place."""
        others = [other.readings[0] for other in self.found if other is not candidate]
        candidate = self.with_norms(candidate)
        refuse_relatives([layer for layer in self.layers if within(layer, candidate.scope)], self.shapes)
        return network_of(candidate.scope, the_one(candidate.readings), self.layers, self.shapes, others)


def unlike(candidates: list[Candidate], identity: Callable[[str], Any]) -> list[Candidate]:
    """The candidates without those that are another one under other names."""
    arrays = {}
    for candidate in candidates:
        ends = candidate.readings[0].stem[0], candidate.readings[0].blocks[-1].branch[-1]
        arrays.setdefault(tuple(identity(conv.keys["weight"]) for conv in ends), candidate)
    return list(arrays.values())


def within(layer: Layer, scope: Scope) -> bool:
    """Whether a layer's path begins with these components."""
    return layer.parts[: len(scope)] == scope


def the_one(readings: list[Body]) -> Body:
    """The only reading of the convolutions; raises WeightsError where there are two."""
    if len(readings) > 1:
        raise WeightsError(
            f"its convolutions can be read in two ways, from {quoted(readings[0].blocks[0].branch[0].path)} on: their "
            "names do not say which is on the shortcut (name it downsample), or it is no network of the family"
        )
    return readings[0]


def scopes(layers: list[Layer]) -> list[tuple[Scope, list[Layer]]]:
    """(components, the convolutions under them), only the longest of those that hold the same."""
    under: dict[Scope, list[Layer]] = {}
    for layer in layers:
        if layer.kind == "conv":
            path = layer.parts
            for length in range(min(len(path), 12)):
                under.setdefault(path[:length], []).append(layer)
    found: dict[tuple[int, int], tuple[Scope, list[Layer]]] = {}
    for scope, convs in sorted(under.items(), key=lambda item: len(item[0])):
        if len(convs) >= FEWEST:
            found[id(convs[0]), len(convs)] = (scope, convs)
    return list(found.values())


def network_of(scope: Scope, body: Body, layers: list[Layer], shapes: Shapes, others: list[Body]) -> Network:
    """The network around a body, of whose layers all have a place."""
    inside = [layer for layer in layers if within(layer, scope)]
    foreign = {other.stem[0].parts[:1] for other in others} if not scope else set()
    inside = [layer for layer in inside if layer.parts[:1] not in foreign or layer in body.layers]
    gates = gates_of([layer for layer in inside if layer.kind == "conv"], inside)
    placed = gates_in_blocks(gates, body, inside)
    features = body.blocks[-1].branch[-1].out
    head = head_of(inside, layers, features, body, [id(part) for gate in gates for part in gate.layers])
    linear = [layer for layer in inside if layer.kind == "linear"]
    trunk = [layer for layer in inside if is_trunk_norm(layer, body, head, linear)]
    counted = [norm for norm in trunk if "mean" in norm.keys]  # where some have statistics, a vector without is no norm
    norms, final, before = norms_of(body, counted or trunk)
    network = Network(scope, body, norms, final, before, placed, head, [])
    used = {id(layer) for layer in network.layers}
    refuse_other_ends(body, head, [layer for layer in layers if id(layer) not in used], scope)
    refuse_unknown_parts(body, [layer for layer in inside if id(layer) not in used], shapes, scope)
    known = {key for layer in network.layers for key in layer.keys.values()}
    return network._replace(aside=[key for key in shapes if key not in known])


def is_trunk_norm(layer: Layer, body: Body, head: list[Layer], linear: list[Layer]) -> bool:
    """Whether a norm may be of the body, and not of a head: it does not stand in one part with linear layers alone."""
    if layer.kind != "norm":
        return False
    part = layer.parts[:-1]
    heads = {other.parts[:-1] for other in (*head, *linear)}
    convs = {conv.parts[:-1] for conv in body.layers}
    return part in convs or part not in heads - {()}


def gates_in_blocks(gates: list[Gate], body: Body, layers: list[Layer]) -> dict[int, Gate]:
    """The number of a block → the gate that stands in it; raises WeightsError unless all blocks have one, or none."""
    position = {id(layer): i for i, layer in enumerate(layers)}
    placed: dict[int, Gate] = {}
    for number, prefix in enumerate(block_prefixes(body)):
        for gate in gates:
            if prefix and gate.layers[0].parts[: len(prefix)] == prefix:
                placed[number] = gate
    named = [gate for gate in gates if GATE.search(tail(gate.squeeze.path))]
    if not placed and named:  # names do not say where: in the block whose convolutions stand before
        ends = [min(position[id(layer)] for layer in block.layers) for block in body.blocks]
        for gate in named:
            before = [number for number, end in enumerate(ends) if end < position[id(gate.layers[0])]]
            placed.setdefault(before[-1] if before else 0, gate)
    if placed and len(placed) != len(body.blocks):
        raise WeightsError(f"{len(placed)} of its {len(body.blocks)} blocks have a gate (squeeze and excitation)")
    return placed


def refuse_unknown_parts(body: Body, unused: list[Layer], shapes: Shapes, scope: Scope) -> None:
    """Raise WeightsError for arrays inside a block that have no place."""
    blocks = {prefix for prefix in block_prefixes(body) if len(prefix) > len(scope)}
    for layer in unused:
        path = layer.parts
        large = any(size > 1 for key in layer.keys.values() for size in shapes[key])
        if large and any(path[: len(prefix)] == prefix for prefix in blocks):
            raise WeightsError(f"{quoted(layer.path)} is no part of a block as the family has them")


def refuse_other_ends(body: Body, head: list[Layer], unused: list[Layer], scope: Scope) -> None:
    """Raise WeightsError for a convolution that makes the stem's input, and for norms beside the classifier."""
    part = head[0].parts[:-1] if head else ()
    features = body.blocks[-1].branch[-1].out
    channels = body.stem[-1].out
    missing = set()  # (input, output) channels of the shortcuts that change them without a projection
    for block in body.blocks:
        out = block.branch[-1].out
        missing |= {(channels, out)} if block.projection is None and channels != out else set()
        channels = out
    alike = {DIGITS.sub("#", conv.path) for block in body.blocks for conv in block.layers}
    for layer in unused:
        if layer.kind == "conv" and DIGITS.sub("#", layer.path) in alike and within(layer, scope):
            raise WeightsError(
                f"the convolution {quoted(layer.path)} is called like those of the blocks, and follows none of them"
            )
        if layer.kind == "conv" and layer.kernel == 1 and layer.shape[1::-1] in missing:
            raise WeightsError(f"the convolution {quoted(layer.path)} fits a shortcut, but its name does not say which")
        beside = part and layer.kind == "norm" and layer.parts[:-1] == part
        neck = head and layer.kind == "norm" and layer.out == features and NECK.search(tail(layer.path))
        if beside or neck:
            raise WeightsError(
                f"the norm {quoted(layer.path)} stands in the head, which is one linear layer in the family"
            )
        if layer.kind == "conv" and layer.out == body.stem[0].channels and layer.kernel == 1 and layer.channels <= 16:
            raise WeightsError(
                f"the convolution {quoted(layer.path)} stands before the network, where the family has none"
            )


def listed(names: Collection[str]) -> str:
    """The first names in quotes."""
    shown = ", ".join(quoted(name, 40) for name in list(names)[:4])
    return f"{shown}, … ({len(names)} arrays)" if len(names) > 4 else shown
