"""A file read once into memory of this process alone, with its SHA-256.

It reads any regular file (or standard input), whatever its format; an empty one, one larger than the machine's memory
and one that is cut meanwhile are refused.  Another process that writes to the file changes nothing afterwards.
"""

import hashlib
import mmap
import os

import numpy as np

from . import limits
from .errors import WeightsError

# Without the flags Python shares the pages with processes forked off, and the system would keep what is given back.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Memory:
    """``view``, the file's bytes, read-only; ``sha256``, their digest in hex."""

    CHUNK = 2**22

    def __init__(self, path: str | os.PathLike[str]):
        with limits.open_file(path) as file:
            size = limits.size_of(file)
            if size == 0:
                raise WeightsError("the file is empty")
            if size > limits.machine_memory():
                raise WeightsError(f"{size:,} bytes are more than this machine's memory")
            self.pages, self.released = mmap.mmap(-1, size, **PRIVATE), 0
            self.sha256 = self.fill(file).hexdigest()
        self.view = memoryview(self.pages).toreadonly()
        self.start = np.frombuffer(self.view, np.uint8).__array_interface__["data"][0]

    def fill(self, file):
        digest, view, position = hashlib.sha256(), memoryview(self.pages), 0
        while position < len(view):
            count = file.readinto(view[position : position + self.CHUNK])
            if not count:
                raise WeightsError(f"it was cut to {position:,} bytes while it was read; try again when it is complete")
            digest.update(view[position : position + count])
            position += count
        return digest

    def release(self, address: int) -> None:
        """Give the system back the full pages below an address within the view, which nobody will read again."""
        end = (address - self.start) // mmap.PAGESIZE * mmap.PAGESIZE
        if self.released < end <= len(self.view) and hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
            self.released = end
