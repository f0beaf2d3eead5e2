"""Writing a file so that its final name never shows a part of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

MAX_NAME = 240  # bytes of a name that leave room for our suffix in the 255 that file systems take


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file open for writing that becomes ``path`` when the block ends without an exception.

    The bytes go to a temporary file <name>.<random>.tmp in the same folder, reach the disk, and take the final name by
    one rename.  On an exception the temporary file is removed and ``path`` is as it was; an OSError then names
    ``path``.  A process that is killed leaves at most the temporary file.
    """
    path = Path(path)
    stem = path.name if len(os.fsencode(path.name)) <= MAX_NAME else path.name[: MAX_NAME // 4]
    temporary = path.with_name(f"{stem}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and str(error.filename or temporary) == str(temporary):
            error.filename, error.filename2 = str(path), None
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
