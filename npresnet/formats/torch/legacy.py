"""Reads what torch.save wrote before PyTorch 1.6 [T]: five pickles in a row, then the storages' raw bytes.

A bare pickle of NumPy arrays or of tensors, each of which brings its storage as a whole such file, is read too.
Storages that are declared in two ways, missing, given twice or of another length, and bytes behind the last storage are
refused.

[T] torch/serialization.py, _legacy_load
"""

from collections.abc import Mapping
from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..stream import Budget, Stream
from ..tensors import Storage
from ..unpickle.record import Record
from ..unpickle.unpickle import unpickle
from .allowlist import CURE, dtype_of
from .modules import with_states

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_pickles(data: memoryview, allow: Mapping[str, Any], budget: Budget, brings_steps: bool = True) -> Any:
    """The object of a bare pickle or, where torch.save wrote the file, the fourth of these.

    Magic, protocol, system, object, storage keys; for each key an int64 count and elements.

    Persistent id: ("storage", type, key, location, count, view), the view None or (key, offset, count).  Storages are
    little-endian whatever the machine was.
    """
    stream = Stream(data)
    storages: dict[str, Storage] = {}
    views: dict[str, tuple[Storage, Storage, int]] = {}

    def persistent_load(pid):
        if type(pid) is tuple and pid[:1] == ("module",) and len(pid) == 4 and isinstance(pid[1], Record):
            return pid[1]  # a class, with its source beside it
        if type(pid) is not tuple or len(pid) != 6 or pid[0] != "storage" or type(pid[2]) is not str:
            raise WeightsError("a persistent id must be ('storage', type, key, location, count, view)")
        _, kind, key, _, numel, view = pid
        dtype = dtype_of(kind)
        root = storages.setdefault(key, Storage(dtype, numel))
        if (root.dtype, root.numel) != (dtype, numel) or type(numel) is not int:
            raise WeightsError(f"the storage {quoted(key)} is declared in two ways")
        return root if view is None else view_of(root, view, views)

    def load(persistent_load=None):
        return unpickle(
            stream,
            globals=allow,
            persistent_load=persistent_load,
            cure=CURE,
            budget=budget,
            records=True,
            brings_steps=brings_steps,
        )

    if (first := load()) != MAGIC:
        return with_states(first, budget)
    if load() != PROTOCOL:
        raise WeightsError(f"its protocol is not {PROTOCOL}; a newer PyTorch than is known here wrote it")
    load()  # the system that wrote it
    tree = load(persistent_load)
    read_storages(stream, load(), storages)
    for view, root, offset in views.values():
        view.fill(root.part(offset, view.numel))
    return with_states(tree, budget)


def read_torch_legacy(data: memoryview, allow: Mapping[str, Any], budget: Budget) -> Any:
    """read_pickles, where pickle.dump made a storage of a tensor into bytes of torch.save's, once and not deeper."""

    def load_from_bytes(content):
        storage = read_pickles(memoryview(content), allow, budget, brings_steps=False)
        if not isinstance(storage, Storage):
            raise WeightsError("the bytes of a pickled tensor hold no storage")
        return storage

    return read_pickles(data, {"torch.storage _load_from_bytes": load_from_bytes, **allow}, budget)


def view_of(root: Storage, view: Any, views: dict[str, tuple[Storage, Storage, int]]) -> Storage:
    """The storage that is a part of ``root``; it is filled once its root is."""
    if type(view) is not tuple or len(view) != 3 or type(view[0]) is not str:
        raise WeightsError("a view of a storage must be (key, offset, count)")
    key, offset, numel = view
    made = views.setdefault(key, (Storage(root.dtype, numel), root, offset))
    if (made[0].numel, *made[1:]) != (numel, root, offset):
        raise WeightsError(f"the view {quoted(key)} is declared in two ways")
    return made[0]


def read_storages(stream: Stream, keys: Any, storages: dict[str, Storage]) -> None:
    """Fill the storages in the order of ``keys``."""
    if type(keys) is not list or len(keys) != len(storages) or any(type(key) is not str for key in keys):
        raise WeightsError("the list of storages does not match the storages that the tensors use")
    for key in keys:
        with error_context(f"storage {quoted(key)}"):
            if key not in storages or storages[key].data is not None:
                raise WeightsError("unknown, or stored twice")
            count = stream.unpack("<q")[0]
            if count != storages[key].numel:
                raise WeightsError(f"holds {count:,} elements, the tensors say {storages[key].numel:,}")
            storages[key].fill(stream.read(storages[key].nbytes))
    if stream.position != len(stream.data):
        raise WeightsError(f"{len(stream.data) - stream.position:,} bytes follow the last storage; the file is damaged")
