"""A labelled data set: a folder of class folders, or a zip of one, read without unpacking.

    cifar10-test.zip            photos/
      test/airplane/0001.jpg      cat/a.png
      test/airplane/0002.jpg      cat/kitten/b.png
      test/bird/0001.jpg          dog/c.jpeg

Leading folders that all pictures share are skipped; the next one names the class.  Hidden files, files that are not
called like a picture, and the ``__MACOSX`` entries of zips are left out.
"""

import io
import os
import zipfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import PurePosixPath

import numpy as np

from ..limits import BYTES, FLOOR, open_file
from .errors import ImageError
from .preprocessing import recipe_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff", ".jp2")
MAX_BYTES = 1 << 28      # of one compressed picture: a zip member that claims more is refused before it is inflated


class ImageFolder:
    """The pictures under ``path``, sorted by name; nothing is decoded before it is asked for.

    classes  the class folders' names, sorted
    names    each picture's path inside ``path``
    folders  the index into ``classes`` of each picture, (N,) int64
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self.archive = open_zip(self.path) if os.path.isfile(self.path) else None
        found = self.archive.namelist() if self.archive else walk(self.path)
        self.names = sorted({name for name in found if is_picture(name)})
        if not self.names:
            raise ImageError(f"{self.path}: no images in class folders here (such as {self.path}/cat/1.jpg)")
        labels = class_folders(self.names, self.path)
        self.classes = tuple(sorted(set(labels)))
        index = {name: k for k, name in enumerate(self.classes)}
        self.folders = np.array([index[label] for label in labels], np.int64)

    def __len__(self):
        return len(self.names)

    def open(self, k):
        """Picture ``k`` as a binary file with a name."""
        if self.archive is None:
            return open_file(os.path.join(self.path, self.names[k]))
        return NamedBytes(self.read_member(self.names[k]), f"{self.path}/{self.names[k]}")

    def read_member(self, name):
        """One picture's bytes out of the zip."""
        info = self.archive.getinfo(name)
        if info.file_size > min(MAX_BYTES, FLOOR + BYTES * info.compress_size):
            raise ImageError(f"{self.path}/{name}: claims {info.file_size} bytes, more than an image has that is "
                             f"packed into {info.compress_size:,}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):    # the others inflate unasked
            raise ImageError(f"{self.path}/{name}: is packed with a method other than deflate; pack it again")
        try:
            return self.archive.read(name)
        except Exception as error:                        # zipfile has no one type for a damaged or encrypted member
            raise ImageError(f"{self.path}/{name}: cannot be read from the zip ({error})") from error

    def batches(self, model_or_preset, batch_size=128, *, limit=None, threads=2):
        """Yield (x, folders): arrays (n, 3, H, W) float32 and (n,) int64, in the order of ``names``.

        ``limit`` takes so many pictures, evenly spaced, so that every class keeps its share.  While one batch is
        used, ``threads`` others are read ahead (Pillow releases the interpreter lock while it decodes).
        """
        recipe, chosen = recipe_of(model_or_preset), self.spread(limit)

        def load(part):
            return np.stack([self.load(recipe, k) for k in part]), self.folders[part]

        waiting, pool = deque(), ThreadPoolExecutor(threads)
        try:
            for start in range(0, len(chosen), batch_size):
                waiting.append(pool.submit(load, chosen[start:start + batch_size]))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def load(self, recipe, k):
        """Picture ``k``, prepared."""
        with self.open(k) as file:
            return recipe(file)

    def spread(self, limit):
        """``limit`` indices, evenly spaced over the data set; all of them for None."""
        n = len(self)
        return np.arange(n) if limit is None or limit >= n else np.arange(limit) * n // limit


class NamedBytes(io.BytesIO):
    """Bytes that know which file they came from."""

    def __init__(self, data, name):
        super().__init__(data)
        self.name = name


def open_zip(path):
    """The zip at ``path``."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ImageError(f"{path}: neither a folder nor a zip of class folders ({error})") from None


def walk(path):
    """The files under a folder as paths relative to it, symbolic links followed once."""
    def fail(error):
        raise error

    seen = set()
    for here, folders, files in os.walk(path, followlinks=True, onerror=fail):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (os.path.relpath(os.path.join(here, file), path).replace(os.sep, "/") for file in files)


def is_picture(name):
    """Is this called like a picture, and not hidden?"""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
    return not hidden and name.lower().endswith(SUFFIXES)


def class_folders(names, path):
    """The class of each picture: the first folder below those that all of them share."""
    parents = [PurePosixPath(name).parts[:-1] for name in names]
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(min(parents), max(parents))))
    if any(len(parent) == shared for parent in parents):
        shared -= 1                                                   # one class alone, or a/1.jpg beside a/b/2.jpg
    if shared < 0:
        loose = next(name for name, parent in zip(names, parents) if not parent)
        raise ImageError(f"{path}: {loose} lies in no class folder; a data set is <class>/<picture>, such as cat/1.jpg")
    return [parent[shared] for parent in parents]
