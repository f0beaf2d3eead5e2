"""The bounds on memory and work for every file from elsewhere, and which paths are opened at all.

In most formats a few bytes can stand for many, or for work without end.  So every reader pays from a Budget before it
allocates or works, and the Budget is a multiple of the file's real size.  Only regular files and standard input are
opened; pipes and devices are refused.
"""

import errno
import io
import os
import stat
import sys
from typing import Any, BinaryIO

FLOOR = 16 * 2**20  # bytes that a file of any size may take
BYTES_PER_BYTE = 4  # bytes for each byte of the file
STEPS = 1_000_000  # a step is about a microsecond of work
STEPS_PER_BYTE = 1 / 64
ARCHIVE_FLOOR = 640 * 2**20  # an archive of images: CIFAR's largest has 186 MB and is read three times
STEPS_PER_READ = 400  # for each read from an archive: CIFAR's have ten members
IMAGE_FLOOR, IMAGE_BYTES = 320 * 2**20, 100  # flat images pack well, photographs ten- to fortyfold
PIXEL_BYTES = 8  # Pillow keeps 4, and conversion to RGB makes a copy
MAX_ASPECT_RATIO, LONG_SIDE = 128, 4096  # the ratio of sides of images longer than that: resizing multiplies by it
PROBES = 384  # probes of a dictionary's table in one step
STANDARD_INPUT = "-"


class Budget:
    """The bytes and the steps that reading one file may still take.

    By default 16 MiB plus four times the file's size: room for float16 widened to float32 and for a few tied
    arrays, and none for an archive that inflates a thousandfold or a stride of 0 that repeats one number for ever.
    A million steps plus one for each 64 bytes: room for every pickle of weights, and none for work without end.
    Whatever goes past a bound raises ``error``, a class attribute; ``cure`` ends its message.
    """

    error: type[Exception] = ValueError
    cure = ""

    def __init__(
        self, file_bytes: int, max_bytes: int | None = None, *, floor: int = FLOOR, per_byte: int = BYTES_PER_BYTE
    ):
        self.left = self.total = floor + per_byte * file_bytes if max_bytes is None else max_bytes
        self.steps = STEPS + int(file_bytes * STEPS_PER_BYTE)
        self.per_byte = per_byte if max_bytes is None else 0

    def include(self, file_bytes: int) -> None:
        """Another file belongs to what is read: its bytes count as those of the first."""
        self.left, self.total = (bytes + self.per_byte * file_bytes for bytes in (self.left, self.total))
        self.steps += int(file_bytes * STEPS_PER_BYTE)

    def spend(self, nbytes: int, what: str) -> None:
        """Pay for bytes that are about to be allocated for ``what``."""
        if nbytes > self.left:
            count = f"{nbytes:,}" if nbytes < 2**63 else "more than 2⁶³"
            raise self.error(
                f"{what} would take {count} bytes, past the bound of {self.total:,} for this file" + self.cure
            )
        self.left -= nbytes

    def step(self, count: int = 1, what: str = "it") -> None:
        """Pay for work that grows with what the file says, not with its size."""
        self.steps -= count
        if self.steps < 0:
            raise self.error(f"{what} takes too many steps for a file of its size")


def collisions(keys: int, present: int = 0) -> int:
    """The steps, beyond one each, to enter so many integers chosen to collide where so many keys are present.

    CPython's hash of an integer is the integer, so a file can choose keys that all probe the same slots: n²/2 probes
    of 2.6 ns.  A million steps are thus 27,000 integers.  (The hashes of strings and bytes are keyed by a secret.)
    """
    return keys * (2 * present + keys) // 2 // PROBES


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open for reading; "-" is standard input, read to its end.

    Raises OSError for a pipe or a device, which may never end and may wait for ever.
    """
    if os.fspath(path) == STANDARD_INPUT:
        return io.BytesIO(sys.stdin.buffer.read(machine_memory() // 4))
    return open(path, "rb", opener=regular)


def regular(path: Any, flags: int) -> int:
    """The descriptor of a regular file, for open(); a named pipe's opening does not wait for its writer."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open() itself refuses a folder
        os.close(descriptor)
        raise OSError(
            errno.EINVAL, "is a pipe or a device, not a regular file; pipe it in and give the name '-'", os.fspath(path)
        )
    return descriptor


def size_of(file: Any) -> int:
    """The bytes of an open binary file, 0 where it cannot be asked."""
    try:
        position = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(position)
        return size
    except (AttributeError, OSError, ValueError):
        return 0


def machine_memory() -> int:
    """The bytes of this machine's memory, or more than any file has where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
