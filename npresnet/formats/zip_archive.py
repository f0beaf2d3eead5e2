"""A strict reader of zip archives [Z] over bytes in memory.

Two readers that disagree on what an archive holds are an old way to smuggle; zipfile takes the last of two members of
one name, PyTorch the first.  So every field that exists twice must agree, members may neither repeat nor overlap, and
each must have the size and the checksum that the directory promises.

[Z] APPNOTE.TXT 6.3.10, the sections named below
"""

import struct
import zlib
from typing import NamedTuple

from .errors import WeightsError, describing, shown

STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
SIZES_FOLLOW = 0x0008  # the local header holds zeros, the sizes stand in the directory (and behind the data)
MORE = 0xFFFFFFFF      # the real number stands in a zip64 field


class Member(NamedTuple):
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int   # where the local header starts


class ZipArchive:
    """``names()`` and ``read(name)``.  A stored member is a view of ``data``; an inflated one is paid by ``budget``."""

    def __init__(self, data, budget):
        self.data, self.budget = memoryview(data), budget
        with describing("zip directory"):
            start, count, end = find_directory(self.data)
            budget.spend(1024 * count, "the directory")          # a Member and its places in two dicts
            self.members = {}
            for member in directory(self.data[start:end], count):
                if not is_plain(member.name):
                    raise WeightsError(f"the member name {shown(member.name)} is no plain relative path")
                if member.name in self.members:
                    raise WeightsError(f"the member {shown(member.name)} appears twice; which one counts is ambiguous")
                self.members[member.name] = member
            self.spans = self.lay_out(start)

    def __contains__(self, name):
        return name in self.members

    def names(self):
        return list(self.members)

    def lay_out(self, directory_start):
        """Where each member's bytes lie; no two may overlap, and none the directory."""
        spans, free_from = {}, 0
        for member in sorted(self.members.values(), key=lambda m: m.header):
            start = local_data(self.data, member)
            if member.header < free_from or start + member.packed > directory_start:
                raise WeightsError(f"the member {shown(member.name)} overlaps another part of the archive")
            spans[member.name] = start
            free_from = start + member.packed
        return spans

    def read(self, name):
        with describing(f"member {shown(name)}"):
            if name not in self.members:
                raise WeightsError("not in the archive")
            member, start = self.members[name], self.spans[name]
            packed = self.data[start:start + member.packed]
            plain = packed if member.method == STORED else self.inflate(packed, member)
            if len(plain) != member.size:
                raise WeightsError(f"holds {len(plain):,} bytes, the directory says {member.size:,}")
            if zlib.crc32(plain) != member.crc:
                raise WeightsError("the checksum is wrong; the file is damaged, fetch it again")
            return plain

    def inflate(self, packed, member):
        """At most the declared size is ever produced, and the budget is asked before."""
        self.budget.spend(member.size, "the inflated data")
        machine = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = machine.decompress(packed, member.size + 1)
        if not machine.eof or machine.unused_data:
            raise WeightsError(f"does not inflate to the {member.size:,} bytes that the directory says")
        return memoryview(plain)


def is_plain(name) -> bool:
    """Is this a relative path that leads nowhere else?"""
    return not {"..", ""} & set(name.split("/")) and "\0" not in name


def find_directory(data):
    """(start, members, end) of the central directory: §4.3.16, or §4.3.14 and §4.3.15 for zip64."""
    end = len(data) - 22
    if end < 0 or data[end:end + 4] != b"PK\5\6":
        raise WeightsError("it does not end as a zip archive does; the file is truncated or has bytes behind its end")
    disk, first_disk, here, count, size, start, comment = struct.unpack_from("<4H2LH", data, end + 4)
    if data[max(end - 20, 0):max(end - 16, 0)] == b"PK\6\7":
        record = struct.unpack_from("<LQL", data, end - 16)[1]
        if record > end - 20 - 56 or data[record:record + 4] != b"PK\6\6":
            raise WeightsError("the zip64 locator points nowhere")
        disk, first_disk, here, count, size, start = struct.unpack_from("<2L4Q", data, record + 16)
        end = record
    if disk or first_disk or comment or here != count or start + size != end:
        raise WeightsError("the end record and the directory disagree")
    return start, count, end


def directory(data, count):
    """The central directory's entries, §4.3.12."""
    position = 0
    for _ in range(count):
        fields = struct.unpack_from("<4s6H3L5H2L", data, position)
        signature, _, _, flags, method, _, _, crc, packed, size, n, m, k, _, _, _, header = fields
        name = bytes(data[position + 46:position + 46 + n])
        extra = data[position + 46 + n:position + 46 + n + m]
        position += 46 + n + m + k
        if signature != b"PK\1\2" or position > len(data):
            raise WeightsError("an entry of the directory is damaged")
        size, packed, header = widened([size, packed, header], extra)
        yield Member(name.decode("utf-8"), flags, method, crc, packed, size, header)
    if position != len(data):
        raise WeightsError(f"the directory holds more than the {count:,} entries that it declares")


def widened(values, extra):
    """32-bit values that are full are replaced by the zip64 extra field's 64-bit ones, in order: §4.5.3."""
    if MORE not in values:
        return values
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{values.count(MORE)}Q", extra[4:4 + size]))
            return [next(wide) if value == MORE else value for value in values]
        extra = extra[4 + size:]
    raise WeightsError("a zip64 size is missing")


def local_data(data, member):
    """Where the member's bytes start; its local header, §4.3.7, must agree with the directory's entry."""
    with describing(f"member {shown(member.name)}"):
        fields = struct.unpack_from("<4s5H3L2H", data, member.header)
        signature, _, flags, method, _, _, crc, packed, size, n, m = fields
        name = bytes(data[member.header + 30:member.header + 30 + n])
        told = (crc, packed, size)
        if (MORE in told[1:]) or (flags & SIZES_FOLLOW and not any(told)):
            told = (member.crc, member.packed, member.size)      # told elsewhere
        if signature != b"PK\3\4" or (name, method, flags, told) != (
                member.name.encode("utf-8"), member.method, member.flags, (member.crc, member.packed, member.size)):
            raise WeightsError("its two headers disagree")
        if member.flags & ENCRYPTED or member.method not in (STORED, DEFLATED):
            raise WeightsError("is encrypted or packed with a method other than deflate; save it again without")
        return member.header + 30 + n + m
