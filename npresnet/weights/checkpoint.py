"""Checkpoint, the arrays of a file and what is known of them; and the search for the arrays in nested dictionaries."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..formats.errors import WeightsError, quoted
from ..formats.tensors import Tensor
from ..formats.unpickle.stack_machine import Dict

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, of torch.compile, of a wrapper around the network


class Checkpoint(dict[str, Any]):
    """A dictionary name → array, with the file that they come from.

    format    "torch zip", "torch legacy", "torch tar", "safetensors", "npz", "keras h5" or "keras"
    metadata  strings stored beside the arrays; save_weights writes one JSON text under "npresnet"
    notes     which wrappers, prefixes and names were resolved, a sentence each
    sha256    of the file, in hex;  path  where it lies
    """

    def __init__(
        self,
        arrays: Any = (),
        *,
        format: str = "",
        metadata: Mapping[str, str] | None = None,
        notes: Iterable[str] = (),
        sha256: str = "",
        path: Path | None = None,
    ):
        super().__init__(arrays)
        self.format, self.metadata, self.notes = format, dict(metadata or {}), list(notes)
        self.sha256, self.path = sha256, path


def find_state(tree: Any) -> tuple[dict[str, Tensor], Mapping[Any, Any], list[str]]:
    """(name → Tensor, attributes, notes) of the innermost dictionary that holds the arrays."""
    notes, state = [], tree
    for _ in range(4):
        if not isinstance(state, dict):
            raise WeightsError(f"holds {quoted(state)}, not a dictionary of arrays; save model.state_dict()")
        if any(isinstance(value, Tensor) for value in state.values()):
            break
        wrapper = next((key for key in WRAPPERS if isinstance(state.get(key), dict)), None)
        if wrapper is None:
            raise WeightsError(f"holds no arrays; its keys are {listed(state)}; save model.state_dict()")
        beside = [key for key in state if key != wrapper]
        notes.append(f"took the arrays under {wrapper!r}" + (f", left {listed(beside)}" if beside else ""))
        state = state[wrapper]
    else:
        raise WeightsError("wraps its arrays in more than four dictionaries; save the innermost alone")
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        notes.append(f"left out what is no array: {listed(others)}")
    tensors = {key_text(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if len(tensors) + len(others) != len(state):
        raise WeightsError("two arrays have one name, once as text and once as bytes")
    attributes = state.attributes if isinstance(state, Dict) else {}
    return strip_prefixes(tensors, notes), attributes, notes


def strip_prefixes(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Drop up to four prefixes that every name carries."""
    for _ in range(4):
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        notes.append(f"dropped the prefix {prefix!r} from {len(tensors)} keys")
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def key_text(key: Any) -> str:
    if not isinstance(key, (str, bytes)):
        raise WeightsError(f"an array is named by {quoted(key)}, not by a string")
    return key if isinstance(key, str) else key.decode("utf-8")


def listed(keys: Collection[Any], most: int = 6) -> str:
    """The first keys in quotes, with commas between."""
    names = [quoted(key, 40) for key in list(keys)[:most]]
    return ", ".join(names) + (", …" if len(keys) > most else "") if names else "none"
