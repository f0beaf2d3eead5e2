"""The container of torch.save before 0.1.10: a tar with the members pickle, storages and tensors."""

from ..errors import WeightsError, describing, shown
from ..stream import Stream, natural
from ..tar_archive import tar_members
from ..tensors import Storage, Tensor
from ..unpickle.unpickle import unpickle
from .allowlist import CURE, dtype_of


def read_torch_tar(data, budget, allow):
    """``pickle`` refers to tensors (and storages) of the other two members by integer-like persistent ids."""
    members = tar_members(data)
    for name in ("pickle", "storages", "tensors"):
        if name not in members:
            raise WeightsError(f"a tar archive without the member {name!r} is no checkpoint")
    with describing("storages"):
        objects = read_storages(Stream(members["storages"]), budget, allow)
    with describing("tensors"):
        objects |= read_tensors(Stream(members["tensors"]), objects, budget, allow)

    def persistent_load(pid):
        key = identity(pid)
        if key not in objects:
            raise WeightsError(f"the persistent id {key} is no tensor of this file")
        return objects[key]

    return unpickle(members["pickle"], globals=allow, persistent_load=persistent_load, cure=CURE,
                    budget=budget)


def identity(value):
    """A key of an integer, or of its decimal digits (protocol 0 writes persistent ids as text); a text, as those do
    not collide."""
    if type(value) is int and abs(value) < 2**64:
        return str(value)
    if type(value) is str and len(value) <= 20 and value.isdecimal():
        return str(int(value))
    raise WeightsError(f"the key {shown(value)} is no integer; if the file holds a whole model, {CURE}")


def read_storages(stream, budget, allow):
    """A count; per storage a pickled (key, location, type), an int64 count and the elements; then the views."""
    storages = {}
    for _ in counted(stream, budget):
        key, _, kind = triple(unpickle(stream, globals=allow, cure=CURE, budget=budget))
        storage = Storage(dtype_of(kind), stream.unpack("<q")[0])
        add(storages, key, storage.fill(stream.read(storage.nbytes)))
    views = unpickle(stream, globals={}, budget=budget)
    if type(views) is not list or any(type(view) is not tuple or len(view) != 4 for view in views):
        raise WeightsError("the views must be a list of (target, root, offset, count)")
    budget.spend(1024 * len(views), "the views")
    for target, root, offset, numel in views:
        root = storages[identity(root)]
        add(storages, target, Storage(root.dtype, numel).fill(root.part(offset, numel)))
    return storages


def read_tensors(stream, storages, budget, allow):
    """A count; per tensor a pickled (key, storage, type), int32 ndim, 4 bytes, int64 sizes, strides and offset."""
    tensors = {}
    for _ in counted(stream, budget):
        key, root, _ = triple(unpickle(stream, globals=allow, cure=CURE, budget=budget))
        ndim = natural(stream.unpack("<i4x")[0], "a tensor's number of dimensions")
        if ndim > 32:
            raise WeightsError(f"a tensor has {ndim} dimensions")
        size, stride = stream.unpack(f"<{ndim}q"), stream.unpack(f"<{ndim}q")
        if identity(key) in storages:
            raise WeightsError(f"the key {shown(key)} names a storage and a tensor")
        add(tensors, key, Tensor(storages[identity(root)], stream.unpack("<q")[0], size, stride))
    return tensors


def counted(stream, budget):
    """As many turns as the pickled count says; each makes an object or two."""
    count = natural(unpickle(stream, globals={}, budget=budget), "a count")
    budget.spend(1024 * count, f"{count:,} storages or tensors")
    return range(count)


def triple(value):
    if type(value) is not tuple or len(value) != 3:
        raise WeightsError("a storage or tensor is described by three items")
    return value


def add(objects, key, value):
    if identity(key) in objects:
        raise WeightsError(f"the key {shown(key)} appears twice")
    objects[identity(key)] = value
