"""The images that a person names: files, folders, patterns, zips and standard input, none read before its turn."""

import errno
import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..formats.limits import STANDARD_INPUT, open_file
from .class_folders import is_image_name
from .errors import ImageError
from .folder import NamedBytes, open_zip, read_member, walk
from .images import ImageLike

LONGEST_NAME = 1 << 16  # bytes of a line that names a file
STARTS = re.compile(rb"\xff\xd8|GIF8|P[1-6]\s")  # of formats whose first bytes need not hold a zero


class Item(NamedTuple):
    """One image: its name, and what gives the image to :func:`read_image`, a path or an open file."""

    name: str
    open: Callable[[], ImageLike]


class ImageSource:
    """Iterates over the images that ``paths`` stand for, as :class:`Item`.

    A path is a file; a folder, with all that it holds, in sorted order; a zip, whose members are read one by one; a
    pattern, such as "photos/*.jpg" or "photos/**/*.jpg"; or "-", standard input: the bytes of one image, or the names
    of files, one a line.

    count    how many images, None where only standard input will tell
    notes    lines for a person: how many files that are no images were left out, and where

    Raises FileNotFoundError or another OSError for a path that cannot be opened, ImageError where one holds no image.
    """

    def __init__(self, paths: Sequence[str]):
        self.notes: list[str] = []
        self.parts: list[Iterable[Item]] = [self.part(path) for path in paths]
        known = [part for part in self.parts if isinstance(part, list)]
        self.count = sum(map(len, known)) if len(known) == len(self.parts) else None

    def __iter__(self) -> Iterator[Item]:
        for part in self.parts:
            yield from part

    def part(self, path: str) -> Iterable[Item]:
        """The images of one path."""
        if path == STANDARD_INPUT:
            return standard_input()
        if os.path.isdir(path):
            names = self.images(path, sorted(name for name in walk(path) if not name.endswith("/")))
            return [file_item(os.path.join(path, name)) for name in names]
        if not os.path.exists(path):
            names = self.images(path, sorted(filter(os.path.isfile, matches(path))), os.path.basename)
            return [file_item(name) for name in names]
        if path.lower().endswith(".zip"):
            archive = open_zip(path)
            names = self.images(path, sorted({name for name in archive.namelist() if not name.endswith("/")}))
            return [Item(f"{path}/{name}", partial(member, archive, name, path)) for name in names]
        open_file(path).close()  # an error now, before any work
        return [file_item(path)]

    def images(self, path: str, names: Sequence[str], inside: Callable[[str], str] = str) -> list[str]:
        """The names of images among ``names``, by what they are ``inside`` of path; a note counts the others."""
        found = [name for name in names if is_image_name(inside(name))]
        if not found:
            raise ImageError(f"{path}: no images here, among {len(names)} files")
        if left_out := len(names) - len(found):
            self.notes.append(f"{path}: {left_out} of {len(names)} files left out, hidden or without an image's suffix")
        return found


def file_item(path: str) -> Item:
    """The image in a file."""
    return Item(path, lambda: path)


def member(archive: Any, name: str, path: str) -> NamedBytes:
    """An image in a zip, as a file in memory."""
    return NamedBytes(read_member(archive, name, path), f"{path}/{name}")


def matches(pattern: str) -> list[str]:
    """The paths that match a pattern; FileNotFoundError for what is none."""
    if not glob.has_magic(pattern):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), pattern)
    return glob.glob(pattern, recursive=True)


def standard_input() -> Iterator[Item]:
    """The image, or the files named line by line, that standard input holds."""
    start = sys.stdin.buffer.read(64)
    if b"\0" in start or STARTS.match(start):
        data = start + open_file(STANDARD_INPUT).read()
        yield Item(STANDARD_INPUT, lambda: NamedBytes(data, "standard input"))
        return
    yield from map(named_item, filter(None, lines_after(start)))


def named_item(name: str) -> Item:
    """The image in a file that a line names, also one that is called "-"."""
    return Item(name, lambda: os.path.join(".", name) if name == STANDARD_INPUT else name)


def lines_after(start: bytes) -> Iterator[str]:
    """The lines of standard input, of which ``start`` has been read."""
    rest = b"" if start.endswith(b"\n") else sys.stdin.buffer.readline(LONGEST_NAME)
    yield from map(os.fsdecode, (start + rest).splitlines())
    while line := sys.stdin.buffer.readline(LONGEST_NAME):
        yield os.fsdecode(line.rstrip(b"\r\n"))
