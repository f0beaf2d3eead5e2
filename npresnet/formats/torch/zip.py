"""Reads what torch.save writes since PyTorch 1.6 [T]: a zip with <stem>/data.pkl and a member of raw bytes per storage.

So does torch.jit.save: its objects become States like pickled modules, and its program is not looked at.  A frozen
module keeps its arrays, without names, in <stem>/constants.pkl; they are called "0", "1" … in the order of the file.
Several pickles, storages that are absent, of another length or declared in two ways are refused.

[T] torch/serialization.py, _save and _load
"""

from collections.abc import Mapping
from typing import Any

from ..archive import listed
from ..errors import WeightsError, error_context, quoted
from ..state import State
from ..stream import Budget
from ..tensors import Storage, Tensor
from ..unpickle.unpickle import unpickle
from ..zip_archive import ZipArchive
from .allowlist import CURE, dtype_of
from .modules import with_states


def read_torch_zip(archive: ZipArchive, allow: Mapping[str, Any], budget: Budget) -> Any:
    """The pickled object, its tensors not yet read."""
    stem = find_stem(archive.names())
    tree = with_states(read_pickle(archive, stem, "data", allow, budget), budget)
    if isinstance(tree, State) and not tree and f"{stem}constants.pkl" in archive:
        constants = read_pickle(archive, stem, "constants", allow, budget)
        values = constants if type(constants) is tuple else ()
        tree.update((str(i), value) for i, value in enumerate(values) if isinstance(value, Tensor))
    return tree


def read_pickle(archive: ZipArchive, stem: str, name: str, allow: Mapping[str, Any], budget: Budget) -> Any:
    """The object of <stem>/<name>.pkl, whose storages are the members <stem>/<name>/<key>.

    Persistent id: ("storage", type, key, location, count); the count is of bytes for an UntypedStorage.
    """
    byteorder = find_byteorder(archive, f"{stem}byteorder")
    storages: dict[str, Storage] = {}

    def persistent_load(pid):
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage" or type(pid[2]) is not str:
            raise WeightsError("a persistent id must be ('storage', type, key, location, count)")
        _, kind, key, _, numel = pid
        dtype = dtype_of(kind)
        if key not in storages:
            with error_context(f"storage {quoted(key)}"):
                storages[key] = Storage(dtype, numel, byteorder).fill(archive.read(f"{stem}{name}/{key}"))
        if (storages[key].dtype, storages[key].numel) != (dtype, numel) or type(numel) is not int:
            raise WeightsError(f"the storage {quoted(key)} is declared in two ways")
        return storages[key]

    return unpickle(
        archive.read(f"{stem}{name}.pkl"),
        globals=allow,
        persistent_load=persistent_load,
        cure=CURE,
        budget=budget,
        records=True,
    )


def find_stem(names: list[str]) -> str:
    """The folder that everything lies in, of any name ("archive/", the file's own), in others or "" where unpacked."""
    pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(f"the archive holds several checkpoints, {listed(pickles)}; pack one of these folders alone")
    return pickles[0].removesuffix("data.pkl")


def find_byteorder(archive: ZipArchive, name: str) -> str:
    """ "<" or ">"; files from before the record existed are little-endian."""
    record = bytes(archive.read(name)) if name in archive else b"little"
    if record not in (b"little", b"big"):
        raise WeightsError(f"unknown byte order {quoted(record)}")
    return "<" if record == b"little" else ">"
