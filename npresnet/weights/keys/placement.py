"""Arrays whose place depends on a detail that they do not show, and so on the network that they are for."""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")
STEM, BLOCK = "bn1.", "layer1.0.bn1."
PROJECTION = re.compile(r"(\.downsample\.)([01])(?=\.|$)")


def placed(arrays: Mapping[str, T], wanted: Collection[str]) -> dict[str, T]:
    """The arrays under the names that a network with these keys has for them.

    The norm between a pre-activation network's stem and its first block is the one's or the other's; a projection
    that averages pixels first has that pooling as its part 0.
    """
    if any(".downsample.2." in key for key in wanted) and not any(".downsample.2." in key for key in arrays):
        arrays = behind_pooling(arrays)
    in_stem = any(key.startswith(STEM) for key in wanted) and not any(key.startswith(BLOCK) for key in wanted)
    if not in_stem or any(key.startswith(STEM) for key in arrays):
        return dict(arrays)
    return {STEM + key.removeprefix(BLOCK) if key.startswith(BLOCK) else key: array for key, array in arrays.items()}


def behind_pooling(arrays: Mapping[str, T]) -> dict[str, T]:
    """The parts of each projection one place later."""
    return {PROJECTION.sub(lambda found: f"{found[1]}{int(found[2]) + 1}", key): array for key, array in arrays.items()}
