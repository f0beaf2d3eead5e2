"""A tar, compressed or not, read within a budget: tarfile itself trusts the sizes in the headers."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, BinaryIO

from ..formats.limits import ARCHIVE_FLOOR, STEPS_PER_READ, Budget, size_of
from . import ImageError
from .images import StrPath

MAX_BYTES = 1 << 28  # of one member: CIFAR's largest has 154 million
MAX_HEADER = 1 << 20  # of anything else in a tar, such as a long name
PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\xfd7": "lzma"}  # the module that unpacks what begins so


@contextmanager
def explained(path: StrPath) -> Iterator[None]:
    """Turn whatever damaged bytes raise, in tarfile, decompressors and pickles, into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except OSError as error:
        if error.errno:  # from the operating system
            raise
        raise ImageError(f"{path}: damaged archive ({error})") from error
    except Exception as error:
        raise ImageError(f"{path}: damaged archive ({error or type(error).__name__})") from error


@contextmanager
def unpacked(file: BinaryIO, path: StrPath) -> "Iterator[TarStream]":
    """The decompressed bytes of a tar."""
    start, size = file.read(2), size_of(file)
    file.seek(0)
    with unpacker(PACKED[start], path)(file) if start in PACKED else nullcontext(file) as plain:
        yield TarStream(plain, TarBudget(size, floor=ARCHIVE_FLOOR), path)


def unpacker(module: str, path: StrPath) -> Any:
    """The ``open`` of a module of the standard library; not every build of Python has all of these."""
    try:
        return import_module(module).open
    except ImportError:
        raise ImageError(f"{path}: this Python has no module {module}; unpack the archive elsewhere") from None


class TarBudget(Budget):
    error = ImageError


class TarStream:
    """A file for tarfile whose reads are paid from a budget, and are small except for members."""

    def __init__(self, file: Any, budget: Budget, name: StrPath):
        self.file, self.budget, self.name = file, budget, name
        self.tell = file.tell

    def read(self, size: int, most: int = MAX_HEADER) -> bytes:
        if size > most:
            raise ImageError(f"{self.name}: {size:,} bytes in one piece are more than a CIFAR archive has")
        self.budget.spend(size, f"{self.name}, unpacked,")
        self.budget.step(STEPS_PER_READ, str(self.name))
        return self.file.read(size)

    def seek(self, position: int) -> None:
        """Go to ``position``.  In a compressed file the bytes between are unpacked; going back starts from 0."""
        here = self.file.tell()
        self.budget.spend(position - here if position >= here else position, f"{self.name}, unpacked,")
        self.file.seek(position)

    def finish(self) -> None:
        """Read to the end, so that the compressed file's checksum is verified."""
        while self.read(MAX_HEADER):
            pass

    def member(self, info: tarfile.TarInfo) -> bytes:
        """The bytes of one member."""
        self.seek(info.offset_data)
        data = self.read(info.size, MAX_BYTES)
        if len(data) != info.size:
            raise ImageError(f"{self.name}: damaged archive (it ends within {info.name})")
        return data
