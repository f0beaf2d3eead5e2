"""An HDF5 file as a tree of plain arrays.  Whatever would lead elsewhere or inflate is refused."""

import math

from ..errors import WeightsError, describing, shown
from ..tensors import Storage, Tensor, itemsize
from .attributes import element, shape
from .file import NEWER, File
from .objects import DATASPACE, DATATYPE, EXTERNAL, FILTERS, LAYOUT, NOWHERE, Object

MAX_DEPTH = 64                                                   # hard links may form a ring
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)                 # classes of layouts


def tree(data, budget):
    """(root, {path: object}) of the whole file, parents first, names in natural order: conv_2 before conv_10."""
    file, found = File(data, budget), {}
    root = Object(file, file.root())
    walk(root, "", found, 0)
    return root, found


def walk(group, path, found, depth):
    if depth > MAX_DEPTH:
        raise WeightsError("its groups are nested without end")
    for name, address in sorted(group.children(), key=lambda child: natural(child[0])):
        if path + name in found or "/" in name:
            raise WeightsError(f"the name {shown(path + name)} is given twice")
        group.file.budget.spend(4 * len(path + name), "the names")
        found[path + name] = member = Object(group.file, address)
        walk(member, f"{path}{name}/", found, depth + 1)


def natural(name):
    """"conv2d_10" → ("conv2d_", 10): a first name without a number comes before its numbered ones."""
    stem = name.rstrip("0123456789")
    number = name[len(stem):]
    return stem.removesuffix("_"), int(number or -1) if len(number) < 10 else 0, name


def rank(dataset):
    """The number of a dataset's axes."""
    return len(shape(dataset.message(DATASPACE)) or ())


def tensor(dataset, path):
    """The dataset's numbers as a Tensor: a view of the file, which holds them all, in one piece and unpacked."""
    with describing(shown(path)):
        layout = dataset.message(LAYOUT)
        version, place = layout.unpack("<2B")                    # IV.A.2.i
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
