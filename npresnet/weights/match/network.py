"""Finds the networks among arrays of any names: where each lies, what its layers are, what is no part of it."""

import re
from collections.abc import Collection
from typing import NamedTuple

from ...formats.errors import WeightsError, quoted
from ...models.structure import Shapes
from .blocks import Block, Body, bodies
from .gates import GATE, Gate, gates_of
from .heads import head_of
from .layers import Layer, layers_of
from .names import components
from .norms import Norms, norms_of
from .relatives import refuse_relatives

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


def networks(shapes: Shapes) -> list[Network]:
    """The networks in the arrays, none inside another, in the order of the arrays.

    Raises WeightsError with the reason where the blocks of one are found, but some of its layers have no place.
    """
    layers = [layer for layer in layers_of(shapes) if not OPTIMIZER.search(layer.path)]
    refuse_relatives(layers, shapes)
    found: list[tuple[Scope, list[Body]]] = []
    for scope, convs in scopes(layers):
        inner = {id(conv) for gate in gates_of(convs, layers) for conv in gate.layers}
        readings = bodies([conv for conv in convs if id(conv) not in inner])
        if readings:
            found.append((scope, readings))
    kept: list[tuple[Scope, Body]] = []
    for scope, readings in sorted(found, key=lambda pair: (-len(pair[1][0].layers), -len(pair[0]))):
        mine = {id(conv) for conv in readings[0].layers}
        if all(mine.isdisjoint(map(id, other.layers)) for _, other in kept):
            kept.append((scope, the_one(readings)))
    position = {id(layer): i for i, layer in enumerate(layers)}
    kept.sort(key=lambda pair: position[id(pair[1].stem[0])])
    return [network_of(scope, body, layers, shapes, [b for _, b in kept if b is not body]) for scope, body in kept]


def the_one(readings: list[Body]) -> Body:
    """The only reading of the convolutions; raises WeightsError where there are two."""
    if len(readings) > 1:
        raise WeightsError(
            f"its convolutions can be read in two ways, from {quoted(readings[0].blocks[0].branch[0].path)} on: their "
            "names do not say which is on the shortcut; name it downsample"
        )
    return readings[0]


def scopes(layers: list[Layer]) -> list[tuple[Scope, list[Layer]]]:
    """(components, the convolutions under them), only the longest of those that hold the same."""
    under: dict[Scope, list[Layer]] = {}
    for layer in layers:
        if layer.kind == "conv":
            path = components(layer.path)
            for length in range(min(len(path), 12)):
                under.setdefault(path[:length], []).append(layer)
    found: dict[tuple[int, int], tuple[Scope, list[Layer]]] = {}
    for scope, convs in sorted(under.items(), key=lambda item: len(item[0])):
        if len(convs) >= FEWEST:
            found[id(convs[0]), len(convs)] = (scope, convs)
    return list(found.values())


def network_of(scope: Scope, body: Body, layers: list[Layer], shapes: Shapes, others: list[Body]) -> Network:
    """The network around a body, of whose layers all have a place."""
    inside = [layer for layer in layers if components(layer.path)[: len(scope)] == scope]
    foreign = {components(other.stem[0].path)[:1] for other in others} if not scope else set()
    inside = [layer for layer in inside if components(layer.path)[:1] not in foreign or layer in body.layers]
    gates = gates_of([layer for layer in inside if layer.kind == "conv"], inside)
    placed = gates_in_blocks(gates, body, inside)
    features = body.blocks[-1].branch[-1].out
    head = head_of(inside, layers, features, body, [id(part) for gate in gates for part in gate.layers])
    linear = [layer for layer in inside if layer.kind == "linear"]
    norms, final, before = norms_of(body, [layer for layer in inside if is_trunk_norm(layer, body, head, linear)])
    network = Network(scope, body, norms, final, before, placed, head, [])
    used = {id(layer) for layer in network.layers}
    refuse_unknown_parts(body, [layer for layer in inside if id(layer) not in used], shapes, scope)
    known = {key for layer in network.layers for key in layer.keys.values()}
    return network._replace(aside=[key for key in shapes if key not in known])


def is_trunk_norm(layer: Layer, body: Body, head: list[Layer], linear: list[Layer]) -> bool:
    """Whether a norm may be of the body, and not of a head: it does not stand in one part with linear layers alone."""
    if layer.kind != "norm":
        return False
    part = components(layer.path)[:-1]
    heads = {components(other.path)[:-1] for other in (*head, *linear)}
    convs = {components(conv.path)[:-1] for conv in body.layers}
    return part in convs or part not in heads - {()}


def gates_in_blocks(gates: list[Gate], body: Body, layers: list[Layer]) -> dict[int, Gate]:
    """The number of a block → the gate that stands in it; raises WeightsError unless all blocks have one, or none."""
    position = {id(layer): i for i, layer in enumerate(layers)}
    placed: dict[int, Gate] = {}
    for number, block in enumerate(body.blocks):
        prefix = block_prefix(block)
        for gate in gates:
            if prefix and components(gate.layers[0].path)[: len(prefix)] == prefix:
                placed[number] = gate
    named = [gate for gate in gates if GATE.search(gate.squeeze.path)]
    if not placed and named:  # names do not say where: in the block whose convolutions stand before
        ends = [min(position[id(layer)] for layer in block.layers) for block in body.blocks]
        for gate in named:
            before = [number for number, end in enumerate(ends) if end < position[id(gate.layers[0])]]
            placed.setdefault(before[-1] if before else 0, gate)
    if placed and len(placed) != len(body.blocks):
        raise WeightsError(f"{len(placed)} of its {len(body.blocks)} blocks have a gate (squeeze and excitation)")
    return placed


def block_prefix(block: Block) -> Scope:
    """The components with which the names of a block's convolutions begin."""
    paths = [components(layer.path) for layer in block.layers]
    length = 0
    while all(len(path) > length + 1 and path[length] == paths[0][length] for path in paths):
        length += 1
    return paths[0][:length]


def refuse_unknown_parts(body: Body, unused: list[Layer], shapes: Shapes, scope: Scope) -> None:
    """Raise WeightsError for arrays inside a block that have no place."""
    blocks = {prefix for block in body.blocks if len(prefix := block_prefix(block)) > len(scope)}
    for layer in unused:
        path = components(layer.path)
        large = any(size > 1 for key in layer.keys.values() for size in shapes[key])
        if large and any(path[: len(prefix)] == prefix for prefix in blocks):
            raise WeightsError(f"{quoted(layer.path)} is no part of a block as the family has them")


def listed(names: Collection[str]) -> str:
    """The first names in quotes."""
    shown = ", ".join(quoted(name, 40) for name in list(names)[:4])
    return f"{shown}, … ({len(names)} arrays)" if len(names) > 4 else shown
