"""A file read once into memory of this process alone, with its SHA-256, and inflated data in such memory.

It reads any regular file (or standard input), whatever its format; an empty one, one larger than the machine's memory
and one that is cut meanwhile are refused.  Another process that writes to the file changes nothing afterwards.  What
has been read for the last time is given back to the system, page by page, so that a file and its arrays are not in
memory at once.
"""

import hashlib
import mmap
import os
import zlib

import numpy as np

from . import limits
from .errors import WeightsError

# Without the flags Python shares the pages with processes forked off, and the system would keep what is given back.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
CHUNK = 2**22
SMALL = 2**20  # bytes that are inflated at once


class Pages(mmap.mmap):
    """Memory of this process alone; ``given`` bytes from its start have been given back."""

    given = 0

    def give_back(self, start: int, stop: int) -> None:
        """Give the system back the full pages between two offsets, which nobody will read again."""
        start, stop = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE
        if start < stop and hasattr(mmap, "MADV_DONTNEED"):
            self.madvise(mmap.MADV_DONTNEED, start, stop - start)


def read_before(view: memoryview | None) -> None:
    """Give back what stands before ``view`` in the Pages that it lies in; without effect where it lies in none."""
    if isinstance(getattr(view, "obj", None), Pages):
        pages, offset = place(view)
        pages.give_back(pages.given, offset)
        pages.given = max(pages.given, offset // mmap.PAGESIZE * mmap.PAGESIZE)


def read_through(view: memoryview) -> None:
    """Give back what ``view`` itself shows."""
    if isinstance(view.obj, Pages):
        pages, offset = place(view)
        pages.give_back(offset, offset + len(view))


def place(view) -> tuple[Pages, int]:
    """The Pages that a view lies in, and its offset there."""
    whole, part = (np.frombuffer(data, np.uint8).__array_interface__["data"][0] for data in (view.obj, view))
    return view.obj, part - whole


class Memory:
    """``view``, the file's bytes, read-only; ``sha256``, their digest in hex."""

    def __init__(self, path: str | os.PathLike[str]):
        with limits.open_file(path) as file:
            size = limits.size_of(file)
            if size == 0:
                raise WeightsError("the file is empty")
            if size > limits.machine_memory():
                raise WeightsError(f"{size:,} bytes are more than this machine's memory")
            pages = Pages(-1, size, **PRIVATE)
            self.sha256 = fill(memoryview(pages), file).hexdigest()
        self.view = memoryview(pages).toreadonly()


def fill(view, file):
    digest, position = hashlib.sha256(), 0
    while position < len(view):
        count = file.readinto(view[position : position + CHUNK])
        if not count:
            raise WeightsError(f"it was cut to {position:,} bytes while it was read; try again when it is complete")
        digest.update(view[position : position + count])
        position += count
    return digest


def inflate(packed: memoryview, size: int, wbits: int) -> memoryview | None:
    """The ``size`` bytes that a deflate stream holds; None where it holds another number, or bytes follow it.

    At most one byte more is ever produced.  The packed bytes are given back.
    """
    machine = zlib.decompressobj(wbits)
    if size < SMALL:
        content = memoryview(machine.decompress(packed, size + 1))
        return content if len(content) == size and machine.eof and not machine.unused_data else None
    pages, at = Pages(-1, size, **PRIVATE), 0
    for start in range(0, len(packed), CHUNK):
        piece = packed[start : start + CHUNK]
        left, full = piece, True
        while (left or full) and not machine.eof:
            content = machine.decompress(left, min(CHUNK, size - at + 1))
            if at + len(content) > size:
                return None
            pages[at : at + len(content)] = content
            at, left, full = at + len(content), machine.unconsumed_tail, len(content) == CHUNK
        read_through(piece)
        if machine.eof:
            ended = start + len(piece) == len(packed) and not machine.unused_data
            return memoryview(pages).toreadonly() if ended and at == size else None
    return None
