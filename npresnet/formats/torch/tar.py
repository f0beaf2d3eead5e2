"""Reads what torch.save wrote before PyTorch 0.1.10 [T]: a tar with the members pickle, storages and tensors.

Missing members, keys given twice, views past the end of a storage and persistent ids of no tensor are refused.

[T] torch/serialization.py, legacy_load
"""

from collections.abc import Mapping
from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..stream import Budget, Stream, non_negative
from ..tensors import MAX_DIMENSIONS, Storage, Tensor
from ..unpickle.record import Record
from ..unpickle.unpickle import unpickle
from .allowlist import CURE, dtype_of
from .modules import with_states


def read_torch_tar(members: Mapping[str, memoryview], budget: Budget, allow: Mapping[str, Any]) -> Any:
    """The pickled object; it refers to tensors and storages of the other two members by integers as persistent ids."""
    for name in ("pickle", "storages", "tensors"):
        if name not in members:
            raise WeightsError(f"a tar archive without the member {name!r} is no checkpoint")
    with error_context("storages"):
        objects: dict[str, Any] = read_storages(Stream(members["storages"]), budget, allow)
    with error_context("tensors"):
        objects |= read_tensors(Stream(members["tensors"]), objects, budget, allow)

    def persistent_load(pid):
        if type(pid) is tuple and len(pid) == 3 and isinstance(pid[0], Record):
            return pid[0]  # a class, with its source beside it
        key = key_text(pid)
        if key not in objects:
            raise WeightsError(f"the persistent id {key} is no tensor of this file")
        return objects[key]

    tree = unpickle(
        members["pickle"], globals=allow, persistent_load=persistent_load, cure=CURE, budget=budget, records=True
    )
    return with_states(tree, budget)


def key_text(value: Any) -> str:
    """The decimal digits of a key, an integer or (as protocol 0 writes persistent ids) digits; texts do not collide."""
    if type(value) is int and abs(value) < 2**64:
        return str(value)
    if type(value) is str and len(value) <= 20 and value.isdecimal():
        return str(int(value))
    raise WeightsError(f"the key {quoted(value)} is no integer")


def read_storages(stream: Stream, budget: Budget, allow: Mapping[str, Any]) -> dict[str, Storage]:
    """key → Storage, of: a count; per storage a pickled (key, location, type), an int64 count and the elements; then
    the views."""
    storages: dict[str, Storage] = {}
    for _ in counted(stream, budget):
        key, _, kind = triple(unpickle(stream, globals=allow, cure=CURE, budget=budget))
        storage = Storage(dtype_of(kind), stream.unpack("<q")[0])
        add(storages, key, storage.fill(stream.read(storage.nbytes)))
    views = unpickle(stream, globals={}, budget=budget)
    if type(views) is not list or any(type(view) is not tuple or len(view) != 4 for view in views):
        raise WeightsError("the views must be a list of (target, root, offset, count)")
    budget.spend(1024 * len(views), "the views")
    for target, root, offset, numel in views:
        root = storages[key_text(root)]
        add(storages, target, Storage(root.dtype, numel).fill(root.part(offset, numel)))
    return storages


def read_tensors(
    stream: Stream, storages: dict[str, Storage], budget: Budget, allow: Mapping[str, Any]
) -> dict[str, Tensor]:
    """key → Tensor, of: a count; per tensor a pickled (key, storage, type), int32 ndim, 4 bytes, int64 sizes, strides
    and offset."""
    tensors: dict[str, Tensor] = {}
    for _ in counted(stream, budget):
        key, root, _ = triple(unpickle(stream, globals=allow, cure=CURE, budget=budget))
        ndim = non_negative(stream.unpack("<i4x")[0], "a tensor's number of dimensions")
        if ndim > MAX_DIMENSIONS:
            raise WeightsError(f"a tensor has {ndim} dimensions")
        size, stride = stream.unpack(f"<{ndim}q"), stream.unpack(f"<{ndim}q")
        if key_text(key) in storages:
            raise WeightsError(f"the key {quoted(key)} names a storage and a tensor")
        add(tensors, key, Tensor(storages[key_text(root)], stream.unpack("<q")[0], size, stride))
    return tensors


def counted(stream: Stream, budget: Budget) -> range:
    """The range of a pickled count, paid for: each turn makes an object or two."""
    count = non_negative(unpickle(stream, globals={}, budget=budget), "a count")
    budget.spend(1024 * count, f"{count:,} storages or tensors")
    return range(count)


def triple(value: Any) -> tuple[Any, Any, Any]:
    if type(value) is not tuple or len(value) != 3:
        raise WeightsError("a storage or tensor is described by three items")
    return value


def add(objects: dict[str, Any], key: Any, value: Any) -> None:
    """Enter an object under a key that is not taken."""
    if key_text(key) in objects:
        raise WeightsError(f"the key {quoted(key)} appears twice")
    objects[key_text(key)] = value
