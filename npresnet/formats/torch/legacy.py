"""Reads what torch.save wrote before PyTorch 1.6 [T]: five pickles in a row, then the storages' raw bytes.

Pickled modules, storages that are declared in two ways, missing, given twice or of another length, and bytes behind the
last storage are refused.

[T] torch/serialization.py, _legacy_load
"""

from collections.abc import Mapping
from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..stream import Budget, Stream
from ..tensors import Storage
from ..unpickle.unpickle import unpickle
from .allowlist import CURE, dtype_of

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_torch_legacy(data: memoryview, allow: Mapping[str, Any], budget: Budget) -> Any:
    """The pickled object, of: magic, protocol, system, object, storage keys; for each key an int64 count and elements.

    Persistent id: ("storage", type, key, location, count, view), the view None or (key, offset, count).  Storages are
    little-endian whatever the machine was.
    """
    stream = Stream(data)
    storages: dict[str, Storage] = {}
    views: dict[str, tuple[Storage, Storage, int]] = {}

    def persistent_load(pid):
        if type(pid) is not tuple or len(pid) != 6 or pid[0] != "storage" or type(pid[2]) is not str:
            raise WeightsError(
                "a persistent id must be ('storage', type, key, location, count, view); one of "
                f"('module', …) means a whole model: {CURE}"
            )
        _, kind, key, _, numel, view = pid
        dtype = dtype_of(kind)
        root = storages.setdefault(key, Storage(dtype, numel))
        if (root.dtype, root.numel) != (dtype, numel) or type(numel) is not int:
            raise WeightsError(f"the storage {quoted(key)} is declared in two ways")
        return root if view is None else view_of(root, view, views)

    def load(**options):
        return unpickle(stream, globals=options.pop("globals", {}), cure=CURE, budget=budget, **options)

    if load() != MAGIC or load() != PROTOCOL:
        raise WeightsError("a pickle, but not one of torch.save; only arrays in a known container are read")
    load()  # the system that wrote it
    tree = load(globals=allow, persistent_load=persistent_load)
    read_storages(stream, load(), storages)
    for view, root, offset in views.values():
        view.fill(root.part(offset, view.numel))
    return tree


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
