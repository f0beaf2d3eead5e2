"""Checkpoint, the arrays of a file and what is known of them."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..formats.errors import quoted
from ..formats.state import Layer


class Checkpoint(dict[str, Any]):
    """A dictionary name → array, with the file that they come from.

    format    "torch zip", "torch legacy", "torch tar", "safetensors", "npz", "keras h5" or "keras"
    metadata  strings stored beside the arrays; save_weights writes one JSON text under "npresnet"
    notes     which wrappers, prefixes and names were resolved, a sentence each
    layers    path → what a layer is, where the file holds a whole network and not its arrays alone
    sha256    of the file, in hex;  path  where it lies
    """

    def __init__(
        self,
        arrays: Any = (),
        *,
        format: str = "",
        metadata: Mapping[str, str] | None = None,
        notes: Iterable[str] = (),
        layers: Mapping[str, Layer] | None = None,
        sha256: str = "",
        path: Path | None = None,
    ):
        super().__init__(arrays)
        self.named: Any = None  # its arrays under torchvision's names, where they have been found
        self.format, self.metadata, self.notes = format, dict(metadata or {}), list(notes)
        self.layers, self.sha256, self.path = dict(layers or {}), sha256, path


def listed(keys: Collection[Any], most: int = 6) -> str:
    """The first keys in quotes, with commas between."""
    names = [quoted(key, 40) for key in list(keys)[:most]]
    return ", ".join(names) + (", …" if len(keys) > most else "") if names else "none"
