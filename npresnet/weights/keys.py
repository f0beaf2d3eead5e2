"""Other libraries' names for the same arrays, translated to torchvision's.

A KeyMap says by which keys it is recognised and how it renames one key.  The first that applies is used.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .errors import WeightsError


class KeyMap(NamedTuple):
    name: str
    applies: Callable[[Iterable[str]], bool]
    rename: Callable[[str], str]


KEY_MAPS = (
    KeyMap("CIFAR checkpoints (linear for fc)",                  # Idelbayev's pytorch_resnet_cifar10
           lambda keys: "linear.weight" in keys and "fc.weight" not in keys,
           lambda key: re.sub(r"^linear\.", "fc.", key)),
)


def torchvision_keys(arrays: Mapping) -> tuple[dict, list[str]]:
    """(the arrays under torchvision's names, notes).  The arrays themselves are not touched."""
    for key_map in KEY_MAPS:
        if key_map.applies(arrays.keys()):
            renamed = {key_map.rename(key): array for key, array in arrays.items()}
            if len(renamed) != len(arrays):
                raise WeightsError(f"two keys have one name once translated from {key_map.name}")
            return renamed, [f"translated the keys of {key_map.name}"]
    return dict(arrays), []
