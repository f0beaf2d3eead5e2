"""The file in which a download collects its bytes, <file>.part: opened without following links, and locked."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..formats.errors import WeightsError


@contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading and writing; a link of that name is removed, an empty file in the end as well."""
    if path.is_symlink():
        path.unlink()  # the link alone
    with open(path, "r+b", opener=unlinked) as file:
        lock(file, path)
        try:
            yield file
        finally:
            if file.seek(0, os.SEEK_END) == 0:
                with suppress(OSError):
                    path.unlink()


def unlinked(path: Any, _: int) -> int:
    """The descriptor, for open(), of a new file or of a regular one that has no other name."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise WeightsError(f"{path}: is not what an earlier download left; remove it")
    return descriptor


def lock(file: BinaryIO, path: Path) -> None:
    """Raise WeightsError if another process writes the file; the lock ends when the file is closed."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WeightsError(f"{path}: another download is writing it; run it again when that has ended") from None
    except OSError:  # a file system without locks
        return
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
        raise WeightsError(f"{path}: another download has just ended; run it again")
