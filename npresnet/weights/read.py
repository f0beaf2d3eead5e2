"""read_weights: the arrays of a file, whichever of the containers it is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..formats.beside import Beside
from ..formats.containers import read_tree
from ..formats.errors import WeightsError, checked_path, error_context, quoted
from ..formats.limits import machine_memory
from ..formats.memory import Memory, read_before, read_through
from ..formats.stream import Budget
from ..formats.torch.allowlist import TORCH_GLOBALS
from .catalogue import ENTRIES
from .checkpoint import Checkpoint
from .find_state import Found, find_state
from .folder import Source, source_of


def read_weights(
    path: str | os.PathLike[str],
    *,
    float32: bool = False,
    max_bytes: int | None = None,
    allow: Mapping[str, Any] = TORCH_GLOBALS,
    select: str | None = None,
) -> Checkpoint:
    """The arrays in a .pth (zip, legacy, tar), .safetensors, .npz, .onnx or Keras file, recognised by its content.

    Pickled modules and arrays, TorchScript, torch.export, MXNet's .params and flax's .msgpack are read too, and gzip,
    zip or tar around any of them.  A folder stands for the file of weights in it, or for the shards that an index
    lists; see folder.py.

    float32    widen float16 to float32; bfloat16, for which NumPy has no dtype, is always widened
    max_bytes  the bound on what is allocated for arrays and inflated data: 16 MiB plus four times the file by default
    allow      "module name" → callable: the globals that a pickle may name; see unpickle()
    select     of several networks in the file the one with this in its path, as "ema" in "state_dict_ema"

    The file is read once, into memory that nobody else can change; it is hashed and parsed there, so another process
    that writes to it, or cuts it, changes nothing.  That costs a copy of the file, which is given back piece by piece
    as the arrays are made, or its packed data unpacked: at the peak, the unpacked size and the largest array (on
    Windows, which cannot give back pieces, another copy of each); interpreting a pickle in it takes what unpickle()
    says.  Only regular files are read; "-" is standard input.
    Nothing in the file is executed and nothing is extracted to disk.  A file that has the name of one of the catalogue,
    which carries the start of its SHA-256, is checked before anything else is looked at.  Wrappers such as
    {"state_dict": …} and prefixes such as "module." are resolved and reported in ``notes``.

    Raises only WeightsError.
    """
    path = checked_path(path)
    if select is not None and (not isinstance(select, str) or not select):
        raise WeightsError(f"select is a part of a network's name, such as 'ema', not {quoted(select)}")
    with error_context(path):
        source = source_of(path)
        if source.places:
            checkpoint = read_shards(source, max_bytes, allow, float32, select)
        else:
            checkpoint = read_file(source.files[0], max_bytes, allow, float32, select)
        checkpoint.metadata = {**source.texts, **checkpoint.metadata}
        checkpoint.notes = [source.note] * bool(source.note) + checkpoint.notes
        checkpoint.path = path
        return checkpoint


def read_file(
    path: Path, max_bytes: int | None, allow: Mapping[str, Any], float32: bool, select: str | None
) -> Checkpoint:
    """The arrays of one file, whatever lies beside it."""
    memory = Memory(path)
    sha256 = memory.sha256
    check_name(path.name, sha256)
    budget = Budget(len(memory.view), max_bytes)
    checkpoint = read_memory(memory.view, budget, allow, float32, select, Beside(path.parent, budget))
    checkpoint.sha256 = sha256
    return checkpoint


def read_shards(
    source: Source, max_bytes: int | None, allow: Mapping[str, Any], float32: bool, select: str | None
) -> Checkpoint:
    """The arrays of several files, of which each must hold what the index says."""
    total = sum(file.stat().st_size for file in source.files)
    if total > machine_memory():
        raise WeightsError(f"{total:,} bytes are more than this machine's memory")
    budget, tree, part, format = Budget(total, max_bytes), {}, {}, ""
    for file in source.files:
        with error_context(file.name):
            format, part, _ = read_tree(Memory(file).view, budget, allow)
            if not isinstance(part, dict) or part.keys() != source.promised(file):
                raise WeightsError("holds other arrays than the index says; fetch all the files again")
            tree |= part

    state = find_state(tree, select)
    del tree, part
    return checkpoint_of(format, {}, state, budget, float32)


def read_memory(
    data: memoryview,
    budget: Budget,
    allow: Mapping[str, Any] = TORCH_GLOBALS,
    float32: bool = False,
    select: str | None = None,
    beside: Beside | None = None,
) -> Checkpoint:
    """The same for bytes in memory, whose hash is not looked at.

    Of bytes in Pages, what has been read is given back.
    """
    format, tree, metadata = read_tree(data, budget, allow, beside)
    state = find_state(tree, select)
    del tree  # which holds what was inflated
    if not any(getattr(tensor.storage.data, "obj", None) is data.obj for tensor in state.tensors.values()):
        read_through(data)  # for all that is needed has been unpacked
    return checkpoint_of(format, metadata, state, budget, float32)


def checkpoint_of(format: str, metadata: dict[str, str], state: Found, budget: Budget, float32: bool) -> Checkpoint:
    """The arrays that find_state found, made in the order of the file, which is given back behind them."""
    tensors, attributes, layers, notes = state
    metadata |= {key: text for key, text in attributes.items() if isinstance(key, str) and isinstance(text, str)}
    checkpoint = Checkpoint(dict.fromkeys(tensors), format=format, metadata=metadata, notes=notes, layers=layers)
    places = sorted((tensor.address(), name) for name, tensor in tensors.items())
    for _, name in places:
        read_before(tensors[name].storage.data)
        with error_context(quoted(name)):
            checkpoint[name] = tensors.pop(name).array(budget, float32)
    return checkpoint


def check_name(name: str, sha256: str) -> None:
    """Raise WeightsError for a file with a published one's name ("resnet18-f37072fd (1).pth" too) and other bytes.

    Other names may hold a SHA-1, a time stamp or the number of a job, and promise nothing.
    """
    for entry in ENTRIES.values():
        stem = entry.file.rpartition(".")[0]
        if name.startswith(stem) and not sha256.startswith(entry.sha256_prefix):
            promised = stem.rpartition("-")[2]
            raise WeightsError(
                f"its SHA-256 starts with {sha256[: len(promised)]}, that of the published file with {promised}; the "
                "file is incomplete or changed: fetch it again, or rename it if the change is yours"
            )
