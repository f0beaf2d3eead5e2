"""A labelled dataset: a folder of class folders, or a zip of one, read without unpacking.

    cifar10-test.zip            photos/
      test/airplane/0001.jpg      cat/a.png
      test/airplane/0002.jpg      cat/kitten/b.png
      test/bird/0001.jpg          dog/c.jpeg

Leading folders that all images share are skipped; the next one names the class.  Where all the folders there are named
like the parts of a dataset (train/ and val/, Test/, training_set/) and at least one holds folders itself, they are its
parts, and the classes lie below; folders that could be parts or classes are refused.  Hidden files, files without an
image's suffix, and the ``__MACOSX`` entries of zips are left out.
"""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..backend import Array
from ..formats.limits import BYTES_PER_BYTE, FLOOR, open_file
from .class_folders import CURE, class_folders, dataset_parts, folders_in, is_image_name
from .errors import ImageError
from .images import StrPath, read_image
from .prefetch import prefetch
from .preprocessing import Preprocessing, preprocessing_of

MAX_BYTES = 1 << 28  # of one compressed image: a zip member that claims more is refused before it is inflated


class ImageFolder:
    """The images under ``path``, sorted by name; none is decoded before it is read.

    part     which part to read where ``path`` holds several: "train", "val" or "test"; None: the test images, or the
             validation images where there are none
    parts    {part: its folder's name}, empty where ``path`` holds one set of images
    classes  the class folders' names, sorted
    empty    the names of the class folders without an image
    names    each image's path inside ``path``
    folders  the index into ``classes`` of each image, (N,) int64

    Raises ImageError where there are no images in class folders, or where the folders' meaning is ambiguous.
    """

    def __init__(self, path: StrPath, part: str | None = None):
        self.path = os.fspath(path)
        self.archive = open_zip(self.path) if os.path.isfile(self.path) else None
        found = self.archive.namelist() if self.archive else list(walk(self.path))
        self.names = sorted({name for name in found if is_image_name(name)})
        if not self.names:
            raise ImageError(f"{self.path}: no images in class folders here (such as {self.path}/cat/1.jpg)")
        try:
            level, self.parts = dataset_parts(self.names)
        except ImageError as error:
            raise ImageError(f"{self.path}: {error}") from None
        if self.parts:
            self.names = self.inside(self.chosen(part), level)
        labels, self.root = class_folders(self.names, self.path)
        self.classes = tuple(sorted(set(labels)))
        self.empty = tuple(sorted(folders_in(found, self.root) - set(self.classes)))
        index = {name: k for k, name in enumerate(self.classes)}
        self.folders = np.array([index[label] for label in labels], np.int64)

    def chosen(self, part: str | None) -> str:
        """The name of the folder of ``part``."""
        part = part or next((part for part in ("test", "val") if part in self.parts), "train")
        if part not in self.parts:
            raise ImageError(
                f"{self.path} holds {' and '.join(f'{name}/' for name in sorted(self.parts.values()))}, "
                f"and no {part} images; name the folder that is meant"
            )
        return self.parts[part]

    def inside(self, folder: str, level: int) -> list[str]:
        """The names of the images in the part's ``folder``, ``level`` levels down."""
        names = [name for name in self.names if PurePosixPath(name).parts[level : level + 1] == (folder,)]
        loose = [name for name in names if len(PurePosixPath(name).parts) == level + 2]
        if loose:
            raise ImageError(f"{self.path}: {loose[0]} lies in no class folder of that part: {CURE}")
        return names

    def notes(self) -> Iterator[str]:
        """Lines for a person: which part was read, and which class folders hold no image."""
        if self.parts:
            rest = [f"{name}/" for name in sorted(self.parts.values()) if name != PurePosixPath(self.root).name]
            yield f"{self.path}: the images of {self.root}, those of {', '.join(rest)} left aside"
        if self.empty:
            shown = ", ".join(self.empty[:5]) + (", …" if len(self.empty) > 5 else "")
            yield f"{self.path}: no images, and so no class, in {self.root}{{{shown}}}"

    def __len__(self) -> int:
        return len(self.names)

    def open(self, k: int) -> BinaryIO:
        """Image ``k`` as a binary file with a name."""
        if self.archive is None:
            return open_file(os.path.join(self.path, self.names[k]))
        return NamedBytes(read_member(self.archive, self.names[k], self.path), f"{self.path}/{self.names[k]}")

    def read(self, k: int) -> Image.Image:
        """Image ``k``, decoded."""
        with self.open(k) as file:
            return read_image(file)

    def load(self, preprocessing: Preprocessing, k: int) -> Array:
        """Image ``k`` as a network's input (3, H, W)."""
        with self.open(k) as file:
            return preprocessing(file)

    def batches(
        self, model_or_preset: object, batch_size: int = 128, *, limit: int | None = None, threads: int = 2
    ) -> Iterator[tuple[Array, Array]]:
        """Yield (x, folders): arrays (n, 3, H, W) float32 and (n,) int64, in the order of ``names``.

        With a ``limit``, only that many images, evenly spaced, so that every class keeps its share.  While one batch is
        used, ``threads`` others are read (Pillow releases the interpreter lock while it decodes).
        """
        preprocessing = preprocessing_of(model_or_preset)

        def load(part: Array) -> tuple[Array, Array]:
            return np.stack([self.load(preprocessing, k) for k in part]), self.folders[part]

        return prefetch(load, in_batches(len(self), batch_size, limit), threads)


def in_batches(n: int, batch_size: int, limit: int | None = None) -> list[Array]:
    """Indices of ``n`` images in batches; with a ``limit``, only that many of them, evenly spaced."""
    chosen = np.arange(n) if limit is None or limit >= n else np.arange(limit) * n // limit
    return [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]


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
