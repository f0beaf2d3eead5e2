"""The network around a body: its norms, gates and classifier, and what is no part of it."""

from collections.abc import Collection
from typing import NamedTuple

from ...formats.errors import WeightsError, quoted
from ...models.structure import Shapes
from .blocks import Body, block_prefixes
from .gates import GATE, Gate, gates_of
from .heads import head_of
from .layers import Layer, Scope
from .names import tail
from .norms import Norms, norms_of
from .refusals import refuse_other_ends, refuse_unknown_parts


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


def network_of(
    scope: Scope, body: Body, layers: list[Layer], shapes: Shapes, others: list[Body], recorded: bool = False
) -> Network:
    """The network around a body, of whose layers all have a place.  ``recorded``: see head_of."""
    inside = [layer for layer in layers if layer.within(scope)]
    foreign = {other.stem[0].parts[:1] for other in others} if not scope else set()
    inside = [layer for layer in inside if layer.parts[:1] not in foreign or layer in body.layers]
    gates = gates_of([layer for layer in inside if layer.kind == "conv"], inside)
    placed = gates_in_blocks(gates, body, inside)
    features = body.blocks[-1].branch[-1].out
    head = head_of(inside, layers, features, body, [id(part) for gate in gates for part in gate.layers], recorded)
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
            if prefix and gate.layers[0].within(prefix):
                placed[number] = gate
    named = [gate for gate in gates if GATE.search(tail(gate.layers[0].path))]
    if not placed and named:  # names do not say where: in the block whose convolutions stand before
        ends = [min(position[id(layer)] for layer in block.layers) for block in body.blocks]
        for gate in named:
            before = [number for number, end in enumerate(ends) if end < position[id(gate.layers[0])]]
            placed.setdefault(before[-1] if before else 0, gate)
    if placed and len(placed) != len(body.blocks):
        raise WeightsError(f"{len(placed)} of its {len(body.blocks)} blocks have a gate (squeeze and excitation)")
    return placed


def listed(names: Collection[str]) -> str:
    """The first names in quotes."""
    shown = ", ".join(quoted(name, 40) for name in list(names)[:4])
    return f"{shown}, … ({len(names)} arrays)" if len(names) > 4 else shown
