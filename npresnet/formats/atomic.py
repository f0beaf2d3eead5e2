"""Files that are there whole or not at all."""

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

LONGEST = 240            # bytes of a name that leave room for ours in the 255 that file systems take


@contextmanager
def replacing(path):
    """A file open for writing that becomes ``path`` when the block ends well.

    The bytes go to a neighbour with a name of its own, reach the disk, and take the final name in one step that the
    file system cannot do by halves.  On an exception the neighbour is removed and ``path`` is as it was; an OSError
    then names ``path``.  A process that is killed leaves at most the neighbour, <name>.<random>.tmp.
    """
    path = Path(path)
    stem = path.name if len(os.fsencode(path.name)) <= LONGEST else path.name[:LONGEST // 4]
    neighbour = path.with_name(f"{stem}.{secrets.token_hex(4)}.tmp")
    try:
        with open(neighbour, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, path)
    except BaseException as error:
        with suppress(OSError):
            neighbour.unlink()
        if isinstance(error, OSError) and error.errno and str(error.filename or neighbour) == str(neighbour):
            error.filename, error.filename2 = str(path), None
        raise
    sync_folder(path.parent)


def sync_folder(folder):
    """Put the new name itself on the disk, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
