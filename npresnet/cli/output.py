"""--force, and where a command may write: never over a file that it reads, and over others only with --force."""

import errno
import os
import stat
from typing import Any


def add_force_argument(parser: Any) -> None:
    """--force."""
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def check_output(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None, force: bool = False) -> None:
    """Raise where ``path`` must not or cannot be written, before any work; files in ``inputs`` are never replaced.

    An input is recognised under every name: through symbolic and hard links, and inside a folder that is read.
    Raises FileExistsError, or another OSError for a folder that is missing or may not be written to.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, f"No such folder to write into: {folder}", path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "its folder may not be written to", path)
    if not os.path.lexists(path):
        return
    if any(same_file(path, source) for name in inputs if name for source in files_of(name)):
        raise FileExistsError(errno.EEXIST, "is what this command reads; write to another file", path)
    if not force:
        raise FileExistsError(errno.EEXIST, "exists; choose another name, or replace it with --force", path)
    if not stat.S_ISREG(os.lstat(path).st_mode) and not os.path.islink(path):
        raise FileExistsError(errno.EEXIST, "is no regular file and cannot be replaced", path)


def files_of(name: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """The file itself, or the files right inside a folder."""
    if not os.path.isdir(name):
        return [name]
    with os.scandir(name) as entries:
        return [name, *(entry.path for entry in entries)]


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two names lead to one file; of those that lead nowhere, whether they are one name."""
    try:
        return os.path.samefile(a, b)
    except OSError:
        return os.path.realpath(a) == os.path.realpath(b)
