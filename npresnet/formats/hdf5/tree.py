"""Reads an HDF5 file [H] as paths of plain arrays, each stored in one piece (contiguous or compact).

Chunked and packed arrays, arrays in other files, virtual ones, groups nested deeper than 64 (hard links may form a
ring) and names given twice are refused.

[H] HDF5 File Format Specification Version 3.0, the sections named below
"""

import math

from ..errors import WeightsError, error_context, quoted
from ..stream import Budget, Bytes
from ..tensors import Storage, Tensor, itemsize
from .attributes import element, shape
from .file import NEWER, File
from .objects import DATASPACE, DATATYPE, EXTERNAL, FILTERS, LAYOUT, NOWHERE, Object

MAX_DEPTH = 64
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)  # classes of layouts


def tree(data: Bytes, budget: Budget) -> tuple[Object, dict[str, Object]]:
    """(root, {path: object}) of the whole file, parents first, names in natural order: conv_2 before conv_10."""
    file = File(data, budget)
    found: dict[str, Object] = {}
    root = Object(file, file.root())
    walk(root, "", found, 0)
    return root, found


def walk(group: Object, path: str, found: dict[str, Object], depth: int) -> None:
    """Enter everything below a group into ``found``."""
    if depth > MAX_DEPTH:
        raise WeightsError("its groups are nested without end")
    for name, address in sorted(group.children(), key=lambda child: natural_order(child[0])):
        if path + name in found or "/" in name:
            raise WeightsError(f"the name {quoted(path + name)} is given twice")
        group.file.budget.spend(4 * len(path + name), "the names")
        found[path + name] = member = Object(group.file, address)
        walk(member, f"{path}{name}/", found, depth + 1)


def natural_order(name: str) -> tuple[str, int, str]:
    """A sorting key by which "conv2d" comes first, "conv2d_2" second and "conv2d_10" third."""
    stem = name.rstrip("0123456789")
    number = name[len(stem) :]
    return stem.removesuffix("_"), int(number or -1) if len(number) < 10 else 0, name


def rank(dataset: Object) -> int:
    """The number of a dataset's axes."""
    return len(shape(dataset.message(DATASPACE)) or ())


def is_numeric(dataset: Object) -> bool:
    """Whether a dataset is an array of numbers that NumPy knows."""
    return element(dataset.message(DATATYPE))[2] is not None


def tensor(dataset: Object, path: str) -> Tensor:
    """The dataset's numbers as a Tensor, a view of the file."""
    with error_context(quoted(path)):
        layout = dataset.message(LAYOUT)
        version, place = layout.unpack("<2B")  # IV.A.2.i
        if (version, place) == (4, VIRTUAL) or dataset.has(EXTERNAL):
            raise WeightsError("its numbers lie in another file, which is not opened; save the weights into one file")
        *_, name, order = element(dataset.message(DATATYPE))
        size = shape(dataset.message(DATASPACE))
        if name is None or size is None:
            raise WeightsError("is no array of numbers that NumPy knows")
        if place == CHUNKED or dataset.has(FILTERS):
            raise WeightsError("is stored in chunks, which may be packed; Keras stores none so: save it again unpacked")
        if version not in (3, 4) or place not in (COMPACT, CONTIGUOUS):
            raise WeightsError(f"an array {NEWER}")
        start, stored = (0, *layout.unpack("<H")) if place == COMPACT else layout.unpack("<2Q")
        declared, stored = math.prod(size) * itemsize(name), 0 if start == NOWHERE else stored
        if stored != declared:
            raise WeightsError(f"declares {declared:,} bytes and stores {stored:,}")
        source = layout if place == COMPACT else dataset.file.at(start if stored else 0)
        return Tensor.contiguous(Storage(name, math.prod(size), order).fill(source.read(stored)), size)
