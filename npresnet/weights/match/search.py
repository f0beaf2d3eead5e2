"""Finds the networks among arrays of any names: where each lies, and which of them are copies of one another."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ...formats.errors import WeightsError, quoted
from ...models.structure import Shapes
from .blocks import Body, Effort, bodies
from .gates import gates_of
from .layers import Layer, Scope, layers_of
from .network import Network, network_of
from .relatives import refuse_relatives

MOST_ARRAYS = 2**16  # that a file may hold: the deepest network has 7,000
FEWEST = 6  # convolutions in a network: a stem, three blocks of two; shortcuts aside
OPTIMIZER = re.compile(
    r"(^|[./_])(optim(izer)?s?|opt_state|lr_scheduler|grad_?scaler)[./_]|exp_avg|momentum_buffer|square_avg|[/.]Adam(_1)?$|[/.]Momentum$",
    re.IGNORECASE,
)


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
        if len(kept) > 1:  # parts of other networks are chains of blocks too
            kept = unlike([candidate for candidate in kept if candidate.readings[0].doubles], identity)
        self.found = kept
        if not kept:
            refuse_relatives(self.layers, shapes)

    def with_norms(self, candidate: Candidate) -> Candidate:
        """The same, where all norms lie outside its convolutions' part of the tree in the part that has both."""
        scope = candidate.scope
        while scope and not any(layer.kind == "norm" and layer.within(scope) for layer in self.layers):
            scope = scope[:-1]
        return candidate._replace(scope=scope)

    def names_under(self, candidate: Candidate) -> set[str]:
        """The names of all arrays where a network lies."""
        return {key for layer in self.layers if layer.within(candidate.scope) for key in layer.keys.values()}

    def network(self, candidate: Candidate, recorded: bool = False) -> Network:
        """The network around a body.  Raises WeightsError with the reason where some of its layers have no place.

        ``recorded``: whether the file holds a whole network, not its arrays alone.
        """
        others = [other.readings[0] for other in self.found if other is not candidate]
        candidate = self.with_norms(candidate)
        refuse_relatives([layer for layer in self.layers if layer.within(candidate.scope)], self.shapes)
        return network_of(candidate.scope, the_one(candidate.readings), self.layers, self.shapes, others, recorded)


def unlike(candidates: list[Candidate], identity: Callable[[str], Any]) -> list[Candidate]:
    """The candidates without those that are another one under other names."""
    arrays = {}
    for candidate in candidates:
        ends = candidate.readings[0].stem[0], candidate.readings[0].blocks[-1].branch[-1]
        arrays.setdefault(tuple(identity(conv.keys["weight"]) for conv in ends), candidate)
    return list(arrays.values())


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
