"""A file as bytes that nobody else can change while they are read."""

import hashlib
import mmap

import numpy as np

from . import limits
from .errors import WeightsError

# Without the flags Python shares the pages with processes forked off, and the system would keep what is given back.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Memory:
    """A file's bytes in memory of this process alone (``view``, read-only), and their SHA-256."""

    CHUNK = 2**22

    def __init__(self, path):
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
            count = file.readinto(view[position:position + self.CHUNK])
            if not count:
                raise WeightsError(f"it was cut to {position:,} bytes while it was read; try again when it is whole")
            digest.update(view[position:position + count])
            position += count
        return digest

    def release(self, address):
        """Give back the whole pages below an address within the view, which nobody will read again."""
        end = (address - self.start) // mmap.PAGESIZE * mmap.PAGESIZE
        if self.released < end <= len(self.view) and hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
            self.released = end
