"""The files of a dataset in a folder or a zip: their names, and their bytes within bounds."""

import io
import os
import zipfile
from collections.abc import Iterator

from ..formats.limits import BYTES_PER_BYTE, FLOOR
from .errors import ImageError

MAX_BYTES = 1 << 28  # of one compressed image: a zip member that claims more is refused before it is inflated


class NamedBytes(io.BytesIO):
    """Bytes in memory as a file with a name."""

    def __init__(self, data: bytes, name: str):
        super().__init__(data)
        self.name = name


def open_zip(path: str) -> zipfile.ZipFile:
    """The zip at ``path``.  Raises ImageError where it is none."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ImageError(f"{path}: neither a folder nor a zip of images ({error})") from None


def read_member(archive: zipfile.ZipFile, name: str, path: str) -> bytes:
    """The bytes of one image in the zip at ``path``."""
    info = archive.getinfo(name)
    if info.file_size > min(MAX_BYTES, FLOOR + BYTES_PER_BYTE * info.compress_size):
        raise ImageError(
            f"{path}/{name}: claims {info.file_size} bytes, more than an image has that is "
            f"packed into {info.compress_size:,}"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others inflate unbounded
        raise ImageError(f"{path}/{name}: is packed with a method other than deflate; pack it again")
    try:
        return archive.read(name)
    except Exception as error:  # zipfile has no one type for a damaged or encrypted member
        raise ImageError(f"{path}/{name}: cannot be read from the zip ({error})") from error


def walk(path: str) -> Iterator[str]:
    """The files and folders under a folder, as paths relative to it; each folder once, through links too.

    A folder's path ends in "/", as in a zip.
    """

    def fail(error):
        raise error

    seen = set()
    for here, folders, files in os.walk(path, followlinks=True, onerror=fail):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        inside = os.path.relpath(here, path).replace(os.sep, "/")
        yield from (f"{inside}/{name}".removeprefix("./") for name in (*files, *(f"{name}/" for name in folders)))
