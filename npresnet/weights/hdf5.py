"""An HDF5 file as a tree of plain arrays.  Whatever would make the library look elsewhere is refused.

HDF5 can point out of the file in three ways: external links, external storage and virtual datasets (CVE-2026-1669
used the first two to read other files).  h5py does the parsing; it is loaded when such a file is met.
"""

import io
import math
import re

from .bounds import Stream
from .errors import WeightsError, describing, shown
from .tensors import DTYPES, Storage, Tensor

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH, MAX_NODES = 64, 50_000      # hard links may form a ring
NAMES = {code: name for name, code in DTYPES.items() if code[0] in "fiu" and name != "bfloat16"}


class View(io.RawIOBase):
    """Bytes in memory as a file, without a copy."""

    def __init__(self, data):
        self.data, self.position = memoryview(data), 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.position = max(0, offset + (0, self.position, len(self.data))[whence])
        return self.position

    def readinto(self, buffer):
        part = self.data[self.position:self.position + len(buffer)]
        buffer[:len(part)] = part
        self.position += len(part)
        return len(part)


def open_hdf5(data):
    """The file's root group, to be closed by the caller (a context manager)."""
    try:
        import h5py
    except ImportError:
        raise WeightsError("Keras writes HDF5; to read it: pip install 'npresnet[keras]'") from None
    return h5py.File(View(data), "r")


def tree(group):
    """{path: group or dataset} of everything below, parents first, names in natural order (conv_2 before conv_10)."""
    found = {}
    walk(group, "", found, 0)
    return found


def walk(group, path, found, depth):
    from h5py import Group, HardLink
    if depth > MAX_DEPTH or len(found) > MAX_NODES:
        raise WeightsError("its groups are nested without end")
    for name in sorted(group, key=natural):
        if not isinstance(group.get(name, getlink=True), HardLink):
            raise WeightsError(f"{shown(path + name)} is a link to another place; save the weights into one file")
        found[path + name] = member = group[name]
        if isinstance(member, Group):
            walk(member, f"{path}{name}/", found, depth + 1)


def natural(name):
    """"conv2d_10" → ("conv2d_", 10): a first name without a number comes before its numbered ones."""
    stem, number = re.fullmatch(r"(.*?)_?(\d*)", name, re.DOTALL).groups()
    return stem, int(number or -1) if len(number) < 10 else 0, name


def tensor(dataset, path, budget):
    """The dataset's numbers as a Tensor, once it is sure that the file holds them all."""
    with describing(shown(path)):
        if dataset.external is not None or dataset.is_virtual:
            raise WeightsError("its numbers lie in another file, which is not opened; save the weights into one file")
        name = NAMES.get(dataset.dtype.str[1:])
        if name is None or dataset.shape is None:
            raise WeightsError(f"is no array of numbers but of {dataset.dtype}")
        if dataset.chunks is not None:                           # a few bytes can inflate to a chunk of any size
            raise WeightsError("is stored in chunks, which may be packed; Keras stores none so: save it again unpacked")
        declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
        if stored != declared:
            raise WeightsError(f"declares {declared:,} bytes and stores {stored:,}")
        budget.spend(declared, "the array")
        content = dataset[()].astype(dataset.dtype.newbyteorder("<"), order="C", copy=False)
        return Tensor.contiguous(Storage(name, content.size).fill(content.reshape(-1).view("u1")), content.shape)


def text(attributes, key):
    """An attribute that is one string, or None where there is none of that name."""
    value = attributes.get(key)
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        raise WeightsError(f"the attribute {shown(key)} is no text")
    return value.decode("utf-8")


def strings(attributes, key, heap, budget):
    """An attribute that lists names, no name twice.  All of its strings may be one and the same piece of the heap."""
    count = math.prod(attributes.get_id(key).shape)
    if count * heap > budget.total:
        raise WeightsError(f"the {count:,} names under {shown(key)} could take {count * heap:,} bytes")
    names = [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in attributes[key]]
    if len(set(names)) != len(names):
        raise WeightsError(f"a name is listed twice under {shown(key)}")
    return names


def longest_string(data):
    """A bound on the strings of varying length in the file, once its global heaps are sound.

    A heap [HDF5 format, III.E] is "GCOL", a version, three zeros, its size; then objects: an index in two bytes, six
    that do not matter here, a size, and the content padded to eight.  The object 0 is the free space and counts its
    own header.  The library steps from object to object by these sizes, and for ever where one is 0.
    """
    widths = data[13:15] if data[8] < 2 else data[9:11]
    if bytes(widths) != b"\10\10":
        raise WeightsError("an HDF5 file whose addresses or lengths are not of 64 bits is not read")
    longest, left = 0, len(data) // 16                           # objects that there can be where no heaps overlap
    for found in re.finditer(b"GCOL\1\0\0\0", data):
        stream = Stream(data, found.end())
        end = found.start() + stream.unpack("<Q")[0]
        while stream.position + 16 <= min(end, len(data)):
            index, size = stream.unpack("<H6xQ")
            left -= 1
            if left < 0 or (index == 0 and size < 16):
                raise WeightsError("its heap of strings is damaged")
            stream.position += size - 16 if index == 0 else size + -size % 8
            longest = max(longest, size if index else 0)
    return min(longest, len(data))
