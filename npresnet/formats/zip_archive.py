"""Reads zip archives [Z], zip64 included, from bytes in memory; members are stored or deflated.

Two readers that disagree on what an archive holds are an old way to smuggle; zipfile takes the last of two members of
one name, PyTorch the first.  So every field that exists twice must agree, members may neither repeat nor overlap, and
each must have the size and the checksum that the directory promises.  Entries of folders are passed over.  Encryption,
other methods, comments, several disks, bytes behind the end, absolute names and names with ".." are refused.

[Z] APPNOTE.TXT 6.3.10, the sections named below
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .errors import WeightsError, error_context, quoted
from .memory import inflate
from .stream import Budget, Bytes

STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
SIZES_FOLLOW = 0x0008  # the local header holds zeros, the sizes stand in the directory (and behind the data)
ZIP64 = 0xFFFFFFFF  # the real number stands in a zip64 field


class Member(NamedTuple):
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int  # where the local header starts


class ZipArchive:
    """``names()`` and ``read(name)``.  A stored member is a view of ``data``; an inflated one is paid by ``budget``."""

    def __init__(self, data: Bytes, budget: Budget):
        self.data, self.budget = memoryview(data), budget
        with error_context("zip directory"):
            start, count, end = find_directory(self.data)
            budget.spend(1024 * count, "the directory")  # a Member and its places in two dicts
            self.members: dict[str, Member] = {}
            for member in directory(self.data[start:end], count):
                if member.name.endswith("/") and not member.size and is_plain(member.name[:-1]):
                    continue  # a folder
                if not is_plain(member.name):
                    raise WeightsError(f"the member name {quoted(member.name)} is no plain relative path")
                if member.name in self.members:
                    raise WeightsError(f"the member {quoted(member.name)} appears twice; which one counts is ambiguous")
                self.members[member.name] = member
            self.starts = self.locate(start)

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def names(self) -> list[str]:
        """In the directory's order."""
        return list(self.members)

    def locate(self, directory_start: int) -> dict[str, int]:
        """Where each member's bytes start; no two may overlap, and none the directory."""
        starts, end = {}, 0
        for member in sorted(self.members.values(), key=lambda m: m.header):
            start = data_start(self.data, member)
            if member.header < end or start + member.packed > directory_start:
                raise WeightsError(f"the member {quoted(member.name)} overlaps another part of the archive")
            starts[member.name] = start
            end = start + member.packed
        return starts

    def read(self, name: str) -> memoryview:
        """The member's bytes, unpacked, their size and checksum right."""
        with error_context(f"member {quoted(name)}"):
            if name not in self.members:
                raise WeightsError("not in the archive")
            member, start = self.members[name], self.starts[name]
            packed = self.data[start : start + member.packed]
            content = packed if member.method == STORED else self.inflate(packed, member)
            if len(content) != member.size:
                raise WeightsError(f"holds {len(content):,} bytes, the directory says {member.size:,}")
            if zlib.crc32(content) != member.crc:
                raise WeightsError("the checksum is wrong; the file is damaged, fetch it again")
            return content

    def inflate(self, packed: memoryview, member: Member) -> memoryview:
        """Paid for before; the packed bytes are given back, so that a large member can be read only once."""
        self.budget.spend(member.size, "the inflated data")
        content = inflate(packed, member.size, -zlib.MAX_WBITS)
        if content is None:
            raise WeightsError(f"does not inflate to the {member.size:,} bytes that the directory says")
        return content


def is_plain(name: str) -> bool:
    """Whether this is a relative path without ".." or an empty part."""
    return not {"..", ""} & set(name.split("/")) and "\0" not in name


def find_directory(data: memoryview) -> tuple[int, int, int]:
    """(start, members, end) of the central directory: §4.3.16, or §4.3.14 and §4.3.15 for zip64."""
    end = len(data) - 22
    if end < 0 or data[end : end + 4] != b"PK\5\6":
        raise WeightsError("it does not end as a zip archive does; the file is truncated or has bytes behind its end")
    disk, first_disk, here, count, size, start, comment = struct.unpack_from("<4H2LH", data, end + 4)
    if data[max(end - 20, 0) : max(end - 16, 0)] == b"PK\6\7":
        record = struct.unpack_from("<LQL", data, end - 16)[1]
        if record > end - 20 - 56 or data[record : record + 4] != b"PK\6\6":
            raise WeightsError("the zip64 locator points nowhere")
        disk, first_disk, here, count, size, start = struct.unpack_from("<2L4Q", data, record + 16)
        end = record
    if disk or first_disk or comment or here != count or start + size != end:
        raise WeightsError("the end record and the directory disagree")
    return start, count, end


def directory(data: memoryview, count: int) -> Iterator[Member]:
    """The central directory's entries, §4.3.12."""
    position = 0
    for _ in range(count):
        fields = struct.unpack_from("<4s6H3L5H2L", data, position)
        signature, _, _, flags, method, _, _, crc, packed, size, n, m, k, _, _, _, header = fields
        name = bytes(data[position + 46 : position + 46 + n])
        extra = data[position + 46 + n : position + 46 + n + m]
        position += 46 + n + m + k
        if signature != b"PK\1\2" or position > len(data):
            raise WeightsError("an entry of the directory is damaged")
        size, packed, header = with_zip64([size, packed, header], extra)
        yield Member(name.decode("utf-8"), flags, method, crc, packed, size, header)
    if position != len(data):
        raise WeightsError(f"the directory holds more than the {count:,} entries that it declares")


def with_zip64(values: list[int], extra: memoryview) -> list[int]:
    """32-bit values that are full are replaced by the zip64 extra field's 64-bit ones, in order: §4.5.3."""
    if ZIP64 not in values:
        return values
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{values.count(ZIP64)}Q", extra[4 : 4 + size]))
            return [next(wide) if value == ZIP64 else value for value in values]
        extra = extra[4 + size :]
    raise WeightsError("a zip64 size is missing")


def data_start(data: memoryview, member: Member) -> int:
    """Where the member's bytes start; its local header, §4.3.7, must agree with the directory's entry."""
    with error_context(f"member {quoted(member.name)}"):
        fields = struct.unpack_from("<4s5H3L2H", data, member.header)
        signature, _, flags, method, _, _, crc, packed, size, n, m = fields
        name = bytes(data[member.header + 30 : member.header + 30 + n])
        local = (crc, packed, size)
        if (ZIP64 in local[1:]) or (flags & SIZES_FOLLOW and not any(local)):
            local = (member.crc, member.packed, member.size)  # they stand elsewhere
        if signature != b"PK\3\4" or (name, method, flags, local) != (
            member.name.encode("utf-8"),
            member.method,
            member.flags,
            (member.crc, member.packed, member.size),
        ):
            raise WeightsError("its two headers disagree")
        if member.flags & ENCRYPTED or member.method not in (STORED, DEFLATED):
            raise WeightsError("is encrypted or packed with a method other than deflate; save it again without")
        return member.header + 30 + n + m
