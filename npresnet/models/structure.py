"""What the keys and shapes of a network's arrays say about how it was built, whatever its dialect and its sizes."""

import re
from collections.abc import Mapping
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]  # torchvision's key → shape
BLOCK = re.compile(r"layer(\d)\.(\d{1,4})\.")


class Structure(NamedTuple):
    """Two networks of one structure hold the same arrays, apart from those that a dialect adds or leaves out."""

    depths: tuple[int, ...]  # the number of blocks in each stage
    expansion: int  # a block's output channels: 4 times its width in a bottleneck, else its width
    groups: int = 1
    base_width: int = 64
    stem_kernel: int = 7  # the side of the first convolution's kernel
    final_norm: bool = False  # a batch norm follows the last block, as in pre-activation networks

    def features(self, width: int) -> int:
        """The channels after the last stage, where the first stage has ``width``."""
        return width * 2 ** (len(self.depths) - 1) * self.expansion


def measure(shapes: Shapes) -> Structure:
    """The structure of a network with these arrays.

    Raises KeyError, IndexError, ValueError or ZeroDivisionError where they are no network's.
    """
    blocks = {(int(found[1]), int(found[2])) for key in shapes if (found := BLOCK.match(key))}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(1, 1 + max(stage for stage, _ in blocks)))
    filters, per_group = shapes["layer1.0.conv2.weight"][:2]
    stem, groups = shapes["conv1.weight"], filters // per_group
    return Structure(
        depths,
        4 if "layer1.0.conv3.weight" in shapes else 1,
        groups,
        64 * filters // groups // stem[0],
        stem[2],
        "bn.weight" in shapes,
    )
