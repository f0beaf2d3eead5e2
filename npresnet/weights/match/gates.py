"""Finds gates: two small layers (squeezed, channels), (channels, squeezed), or a convolution along the channels."""

import re
from itertools import pairwise
from typing import NamedTuple

from .layers import Layer
from .names import tail

GATE = re.compile(r"(^|[./_])(se\w*|\w*excit\w*|\w*squeeze\w*|\w*attention\w*|gate)([./_]|$)", re.IGNORECASE)


class Gate(NamedTuple):
    layers: tuple[Layer, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the family calls the layers."""
        return ("conv",) if len(self.layers) == 1 else ("fc1", "fc2")


def gates_of(convs: list[Layer], layers: list[Layer]) -> list[Gate]:
    """The gates among 1×1 convolutions and linear layers that stand side by side."""
    dense = [layer for layer in layers if layer.kind == "linear"]
    found = [Gate((layer,)) for layer in layers if layer.kind == "channels"]
    for row in (convs, dense):
        found += [Gate(pair) for pair in pairwise(row) if is_gate(*pair)]
    return found


def is_gate(first: Layer, second: Layer) -> bool:
    """Whether two layers squeeze and excite: of one part, and the second's shape is the first's turned round."""
    turned = first.shape[:2] == second.shape[1::-1] and first.out < first.channels
    point = all(layer.kind == "linear" or layer.kernel == 1 for layer in (first, second))
    one_part = first.parts[:-1] == second.parts[:-1]
    biased = all("bias" in layer.keys for layer in (first, second))
    return turned and point and one_part and (biased or bool(GATE.search(tail(first.path))))
