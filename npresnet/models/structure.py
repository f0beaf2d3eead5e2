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
    before: bool = False  # norms stand before their convolutions: a pre-activation network

    def features(self, width: int) -> int:
        """The channels after the last stage, where the first stage has ``width``."""
        return width * 2 ** (len(self.depths) - 1) * self.expansion


def measure(shapes: Shapes) -> tuple[Structure, int]:
    """(the structure of a network with these arrays, the width of its first stage).

    Raises KeyError, IndexError or ValueError where they are no network's.
    """
    blocks = {(int(found[1]), int(found[2])) for key in shapes if (found := BLOCK.match(key))}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(1, 1 + max(stage for stage, _ in blocks)))
    bottleneck = "layer1.0.conv3.weight" in shapes
    filters, per_group = shapes["layer1.0.conv2.weight"][:2]
    width = shapes["layer1.0.conv3.weight"][0] // 4 if bottleneck else filters
    if not 0 < per_group <= filters or width < 1:
        raise ValueError("a convolution without channels")
    stem, groups = shapes["conv1.weight" if "conv1.weight" in shapes else "conv1.0.weight"], filters // per_group
    kernel = 7 if "conv1.0.weight" in shapes else stem[2]
    base_width = 64 * filters // groups // width
    before = "bn.weight" in shapes or any(key.endswith("downsample.weight") for key in shapes)
    return Structure(depths, 4 if bottleneck else 1, groups, base_width, kernel, before), width
