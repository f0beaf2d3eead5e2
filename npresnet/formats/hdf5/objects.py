"""Reads the objects of an HDF5 file [H]: each is a list of messages, which make it a group or a dataset.

Object headers of version 1 and groups by symbol table are read.  Links to other places, shared messages, newer
versions, more messages than declared and damaged indexes are refused.

[H] HDF5 File Format Specification Version 3.0, the sections named below
"""

from collections.abc import Iterator

from ..errors import WeightsError, quoted
from ..stream import Stream
from .file import NEWER, File

NOWHERE = 2**64 - 1
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, CONTINUATION, SYMBOLS, MANY_ATTRIBUTES = (
    1,
    2,
    3,
    6,
    7,
    8,
    11,
    12,
    16,
    17,
    21,
)  # kinds of messages
SHARED = 2  # a message's flag: it stands elsewhere


class Object:
    """A group or a dataset: the messages of its header, version 1, IV.A.1."""

    def __init__(self, file: File, address: int):
        self.file = file
        version, count, size = file.at(address).unpack("<BxH4xI4x")
        if version != 1:
            raise WeightsError(f"an object {NEWER}")
        file.budget.spend(1024 + 256 * count, "the objects of the file")
        self.messages: list[tuple[int, int, memoryview]] = []
        blocks = [(address + 16, size)]
        for start, length in blocks:  # grows by the blocks that continue it
            block = Stream(file.at(start).read(length))
            while block.position + 8 <= length:
                kind, size, flags = block.unpack("<2HB3x")
                content = block.read(size)
                self.messages.append((kind, flags, content))
                if kind == CONTINUATION:
                    blocks.append(Stream(content).unpack("<2Q"))
                if len(self.messages) > count:
                    raise WeightsError("an object has more messages than it declares")

    def all(self, kind: int) -> Iterator[memoryview]:
        """The content of every message of this kind."""
        for found, flags, content in self.messages:
            if found == kind:
                if flags & SHARED:
                    raise WeightsError(f"a message of the file {NEWER}")
                yield content

    def message(self, kind: int) -> Stream:
        """A Stream over the one message of this kind."""
        found = list(self.all(kind))
        if len(found) != 1:
            raise WeightsError(f"an object has {len(found)} messages of the kind {kind} in the place of one")
        return Stream(found[0])

    def has(self, *kinds: int) -> bool:
        """Whether there is a message of one of these kinds."""
        return any(kind in kinds for kind, *_ in self.messages)

    @property
    def is_dataset(self) -> bool:
        return self.has(LAYOUT)

    def children(self) -> Iterator[tuple[str, int]]:
        """(name, address) of everything in a group: a symbol table, IV.A.2.r, in a B-tree's leaves, III.A.1."""
        if self.has(LINK, LINK_INFO):
            raise WeightsError(f"a group with a link to another place, or it {NEWER}")
        if not self.has(SYMBOLS):
            return
        root, heap = self.message(SYMBOLS).unpack("<2Q")
        size, names = self.file.at(heap, b"HEAP\0\0\0\0").unpack("<Q8xQ")
        names = self.file.at(names).read(size)
        nodes: list[tuple[int, int | None]] = [(root, None)]
        for node, above in nodes:
            stream = self.file.at(node, b"TREE\0")
            level, count = stream.unpack("<BH16x")
            if above is not None and level != above - 1:
                raise WeightsError("the levels of a group's index are damaged")
            self.file.budget.spend(128 * count, "a group's index")
            for _ in range(count):
                child = stream.unpack("<8xQ")[0]
                if level:
                    nodes.append((child, level))
                else:
                    yield from self.leaf(child, names)

    def leaf(self, address: int, names: memoryview) -> Iterator[tuple[str, int]]:
        """The entries of a symbol table's node, III.B and III.C."""
        stream = self.file.at(address, b"SNOD\1\0")
        count = stream.unpack("<H")[0]
        self.file.budget.spend(256 * count, "the names of a group")
        for _ in range(count):
            offset, header, cached = stream.unpack("<2QI20x")
            name = terminated(names[offset : offset + 1025])
            self.file.budget.spend(8 * len(name), "the names of a group")  # and once more to sort them by
            if cached == 2 or header == NOWHERE:
                raise WeightsError(f"{quoted(name)} is a link to another place; save the weights into one file")
            yield name, header


def terminated(data: memoryview) -> str:
    """A name of at most 1024 bytes, up to the 0 that ends it."""
    name, end, _ = bytes(data).partition(b"\0")
    if not name or not end:
        raise WeightsError("the name of a group's member is damaged")
    return name.decode("utf-8")
