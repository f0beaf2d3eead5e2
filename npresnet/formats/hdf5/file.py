"""Reads the lowest level of HDF5 [H]: addresses, the superblock (version 0) and the global heaps of strings.

Written from the specification for this purpose: the HDF5 library opens other files where a file says so, and a damaged
file makes it read beyond its memory or run for ever.  Here every address is checked by a Stream and every object is
paid for from the Budget; other versions of the superblock, other sizes of addresses and user blocks are refused.

[H] HDF5 File Format Specification Version 3.0, the sections named below
"""

from ..errors import WeightsError
from ..limits import collisions
from ..stream import Budget, Bytes, Stream

MAGIC = b"\x89HDF\r\n\x1a\n"
NEWER = "is of a kind that Keras does not write; save it again with Keras, or with h5py and libver='earliest'"


class File:
    """The bytes, the memory that reading them may still take, and the strings of varying length."""

    def __init__(self, data: Bytes, budget: Budget):
        self.data, self.budget = memoryview(data), budget
        self.heaps: dict[int, dict[int, memoryview]] = {}

    def root(self) -> int:
        """The address of the root group, by the superblock, II.A, version 0."""
        if self.data[:8] != MAGIC:
            raise WeightsError("holds no HDF5 file")
        version, a, b, base = self.at(8).unpack("<B4x2B9xQ")
        if (version, a, b, base) != (0, 8, 8, 0):
            raise WeightsError(f"the HDF5 file {NEWER}")
        return self.at(64).unpack("<Q")[0]

    def at(self, address: int, signature: bytes = b"") -> Stream:
        """A Stream from ``address`` on, behind the signature that must stand there."""
        stream = Stream(self.data)
        stream.read(address)
        if bytes(stream.read(len(signature))) != signature:
            raise WeightsError(f"no {signature.decode()} at offset {address:,}")
        return stream

    def string(self, length: int, address: int, index: int) -> bytes:
        """One string of a global heap, III.E."""
        self.budget.step(1 + collisions(1, len(self.heaps)), "the table of strings")
        if address not in self.heaps:
            self.heaps[address] = self.heap(address)
        content = self.heaps[address][index][:length]
        self.budget.spend(4 * len(content), "the names")
        return bytes(content)

    def heap(self, address: int) -> dict[int, memoryview]:
        """index → content.  An entry is an index in two bytes, six unused ones, a size, the content padded to eight."""
        stream = self.at(address, b"GCOL\1\0\0\0")
        end, found = address + stream.unpack("<Q")[0], {}
        while stream.position + 16 <= end:
            index, size = stream.unpack("<H6xQ")
            if index == 0:  # the free space, which is the last
                break
            self.budget.spend(256, "the heaps of strings")  # heaps may lie in one another
            found[index] = stream.read(size)
            stream.read(-size % 8)
        return found
