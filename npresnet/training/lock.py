"""One run at a time in a folder: a lock on a file there, which the system releases however its process ends."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..printer import note

LOCK, TRIES = "npresnet.lock", 100
BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
held = threading.local()  # .folders: what this thread has locked


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Make ``folder`` if it is missing, and keep every other process and thread from training there.

    Inside a block of the same thread and folder it does nothing more.  The folder is removed again if it was made here
    and nothing has been written.  Raises BlockingIOError where another run is at work, OSError where the folder cannot
    be made or written to.  A file system without locks is named on standard error, and the run goes on.
    """
    folder, mine = Path(os.path.realpath(folder)), vars(held).setdefault("folders", set())
    if folder in mine:
        yield
        return
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    handle = acquire(folder)
    mine.add(folder)
    try:
        yield
    finally:
        mine.discard(folder)
        release(folder, handle)
        for path in missing:
            with suppress(OSError):  # there is something in it
                path.rmdir()


def acquire(folder: Path) -> int:
    """The descriptor of the folder's lock file, made, opened and locked."""
    for _ in range(TRIES):  # a run that ends may remove what was just made
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                errno.ENOTDIR, "is no folder; choose another one for the run", str(folder)
            ) from None
        except PermissionError as error:
            raise unwritable(error, folder) from None
        with suppress(FileNotFoundError):
            return open_locked(folder)
    raise busy(folder)


def unwritable(error: OSError, folder: Path) -> PermissionError:
    """The error for a folder that cannot be made, or in which nothing can be written."""
    text = f"may not be written to ({error.strerror}); choose another folder for the run"
    return PermissionError(error.errno, text, str(folder))


def open_locked(folder: Path) -> int:
    """:func:`acquire` in one attempt.  Raises FileNotFoundError where the run before has just removed the file."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except PermissionError as error:
        raise unwritable(error, folder) from None
    try:
        lock(handle, folder)
        if not os.path.samestat(os.fstat(handle), os.stat(folder / LOCK)):
            raise FileNotFoundError(errno.ENOENT, "another file has this name now", str(folder / LOCK))
    except BaseException:
        os.close(handle)
        raise
    return handle


def release(folder: Path, handle: int) -> None:
    """Remove the file while it is locked, so that another process that has opened it notices; then unlock it."""
    if os.name == "posix":  # elsewhere an open file stays
        with suppress(OSError):
            os.unlink(folder / LOCK)
    os.close(handle)


def lock(handle: int, folder: Path) -> None:
    """Lock the file or raise at once."""
    try:
        lock_file(handle)
    except OSError as error:
        if error.errno in BUSY:
            raise busy(folder) from None
        if error.errno not in UNSUPPORTED:
            raise
        note(f"{folder}: this file system has no locks; let no other run write there")


def busy(folder: Path) -> BlockingIOError:
    """The error for a folder in which another run is at work."""
    return BlockingIOError(
        errno.EWOULDBLOCK,
        "another run is at work in this folder; wait until it ends, or choose another folder",
        str(folder),
    )


def lock_file(handle: int) -> None:
    """Lock an open file for this process alone, without waiting; OSError where another one holds it."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
