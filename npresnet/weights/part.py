"""The file in which a download collects its bytes: this process's own, and nobody else's by another name."""

import os
import stat
from contextlib import contextmanager, suppress

from ..formats.errors import WeightsError


@contextmanager
def own(part):
    """The part, open for reading and writing, and locked; a link that somebody laid there goes unfollowed."""
    if part.is_symlink():
        part.unlink()                                            # the link alone
    with open(part, "r+b", opener=regular) as file:
        lock(file, part)
        try:
            yield file
        finally:
            if file.seek(0, os.SEEK_END) == 0:
                with suppress(OSError):
                    part.unlink()


def regular(part, _):
    """A descriptor for open(): of a new file, or of one that has no other name."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(part, flags | getattr(os, "O_BINARY", 0), 0o666)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise WeightsError(f"{part}: is not what an earlier download left; remove it")
    return descriptor


def lock(file, part):
    """Refuse to write beside another process; the lock ends with the file's closing."""
    try:
        import fcntl
    except ImportError:                                          # not on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WeightsError(f"{part}: another download is writing it; wait for its end") from None
    except OSError:                                              # a file system without locks
        return
    if not part.exists() or not os.path.samestat(part.stat(), os.fstat(file.fileno())):
        raise WeightsError(f"{part}: another download has just ended; run it again")
