"""Reads tar archives [T] (ustar, and pax with nothing but times and owners), as PyTorch once wrote them.

Links, devices, sparse files, repeated names, and extended headers that set a name or a size are refused.

[T] POSIX.1-2017, pax Interchange Format and ustar Interchange Format
"""

from .errors import WeightsError, error_context, quoted
from .stream import Bytes, Stream

VENDORS = ("SCHILY.", "LIBARCHIVE.", "APPLE.")  # extended attributes
HARMLESS = {"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"}  # of a pax header


def tar_members(data: Bytes) -> dict[str, memoryview]:
    """name → content, a view of ``data``."""
    stream, members = Stream(data), {}
    with error_context("tar"):
        while any(header := bytes(stream.read(512))):  # 512 zeros end the archive
            name, kind, size = parse_header(header)
            content = stream.read(size)
            stream.read(-size % 512)  # files are padded to whole blocks
            if kind == b"x":
                check_pax(bytes(content))
            elif kind == b"5":
                continue  # a folder
            elif kind not in (b"0", b"\0"):
                raise WeightsError(f"the member {quoted(name)} is no regular file (a link, a device, sparse …)")
            elif name in members:
                raise WeightsError(f"the member {quoted(name)} appears twice; which one counts is ambiguous")
            else:
                members[name] = content
    return members


def parse_header(header):
    """(name, kind, size) of one member."""
    checksum = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    if header[257:262] != b"ustar" or octal(header[148:156]) != checksum:
        raise WeightsError("a header is damaged")
    prefix, name = (field.split(b"\0")[0].decode("utf-8") for field in (header[345:500], header[:100]))
    return f"{prefix}/{name}" if prefix else name, header[156:157], octal(header[124:136])


def octal(field):
    digits = field.strip(b" \0")
    if not digits or not set(digits) <= set(b"01234567"):
        raise WeightsError("a header holds a number that is not octal")
    return int(digits, 8)


def check_pax(content):
    """An extended header ("12 mtime=1.5\\n" …) may carry times and owners, never another name or size."""
    if len(content) > 4096:
        raise WeightsError("an extended header is too large")
    for record in content.rstrip(b"\n").split(b"\n"):
        key = record.partition(b" ")[2].partition(b"=")[0].decode("utf-8")
        if key not in HARMLESS and not key.startswith(VENDORS):
            raise WeightsError(f"an extended header sets {quoted(key)}, which could mislead a reader")
