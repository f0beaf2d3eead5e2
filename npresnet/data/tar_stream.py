"""A tar that may be packed, read forwards and paid for: tarfile trusts whatever sizes its headers tell."""

import bz2
import gzip
import lzma
from contextlib import contextmanager, nullcontext

from ..formats.limits import ARCHIVE_FLOOR, STEPS_PER_READ, Budget, size_of
from . import ImageError

MAX_BYTES = 1 << 28                       # of one member: CIFAR's largest has 154 million
MAX_HEADER = 1 << 20                      # of anything else in a tar, such as a long name
PACKED = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


@contextmanager
def damage_of(path):
    """Whatever damaged bytes raise, in tarfile, in four decompressors and in pickles, becomes one ImageError."""
    try:
        yield
    except ImageError:
        raise
    except OSError as error:
        if error.errno:                                                              # the system's own
            raise
        raise ImageError(f"{path}: damaged archive ({error})") from error
    except Exception as error:
        raise ImageError(f"{path}: damaged archive ({error or type(error).__name__})") from error


@contextmanager
def unpacked(file, path):
    """The bytes of a tar that may be packed, as an Unpacked."""
    start, size = file.read(2), size_of(file)
    file.seek(0)
    with PACKED[start](file) if start in PACKED else nullcontext(file) as plain:
        yield Unpacked(plain, TarBudget(size, floor=ARCHIVE_FLOOR), path)


class TarBudget(Budget):
    error = ImageError


class Unpacked:
    """A file for tarfile, which trusts the sizes in headers: every byte is paid for, and only members are large."""

    def __init__(self, file, budget, name):
        self.file, self.budget, self.name = file, budget, name
        self.tell = file.tell

    def read(self, size, most=MAX_HEADER):
        if size > most:
            raise ImageError(f"{self.name}: {size:,} bytes in one piece are more than a CIFAR archive has")
        self.budget.spend(size, f"{self.name}, unpacked,")
        self.budget.step(STEPS_PER_READ, self.name)
        return self.file.read(size)

    def seek(self, position):
        """Packed bytes are unpacked to be skipped, and once more from the start to go back."""
        here = self.file.tell()
        self.budget.spend(position - here if position >= here else position, f"{self.name}, unpacked,")
        self.file.seek(position)

    def finish(self):
        """Read to the end, where the checksum of what is packed stands."""
        while self.read(MAX_HEADER):
            pass

    def member(self, info):
        self.seek(info.offset_data)
        data = self.read(info.size, MAX_BYTES)
        if len(data) != info.size:
            raise ImageError(f"{self.name}: damaged archive (it ends within {info.name})")
        return data
