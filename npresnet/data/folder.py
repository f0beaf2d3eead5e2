"""A labelled dataset: a folder of class folders, or a zip of one, read without unpacking.

    cifar10-test.zip            photos/
      test/airplane/0001.jpg      cat/a.png
      test/airplane/0002.jpg      cat/kitten/b.png
      test/bird/0001.jpg          dog/c.jpeg

Leading folders that all images share are skipped; the next one names the class.  Where all the folders there are
called as the parts of a dataset are (train/ and val/, Test/, training_set/) and one holds folders itself, they are
its parts, and classes lie below; what could be parts or classes is refused.  Hidden files, files that are not called
like an image, and the ``__MACOSX`` entries of zips are left out.
"""

import io
import os
import zipfile
from contextlib import contextmanager
from itertools import takewhile
from pathlib import PurePosixPath

import numpy as np

from ..formats.limits import BYTES, FLOOR, open_file
from .errors import ImageError
from .prefetch import prefetch
from .preprocessing import preprocessing_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff", ".jp2",
            ".jfif", ".avif")
MAX_BYTES = 1 << 28      # of one compressed image: a zip member that claims more is refused before it is inflated


PARTS = {"train": {"train", "training"}, "val": {"val", "valid", "validation", "dev"}, "test": {"test", "testing"}}
CURE = "name the folder of class folders that is meant"
KINDS = ("dataset", "set", "data", "images")       # what may follow: test-images/, training_set/


class ImageFolder:
    """The images under ``path``, sorted by name; nothing is decoded before it is asked for.

    part     which part to read where ``path`` holds several: "train", "val" or "test"; None: the test images, or the
             validation images where there are none
    parts    {part: its folder's name}, empty where ``path`` holds one set of images
    classes  the class folders' names, sorted
    empty    the names of the class folders without an image
    names    each image's path inside ``path``
    folders  the index into ``classes`` of each image, (N,) int64
    """

    def __init__(self, path, part=None):
        self.path = os.fspath(path)
        self.archive = open_zip(self.path) if os.path.isfile(self.path) else None
        found = list(self.archive.namelist() if self.archive else walk(self.path))
        self.names = sorted({name for name in found if is_image_name(name)})
        if not self.names:
            raise ImageError(f"{self.path}: no images in class folders here (such as {self.path}/cat/1.jpg)")
        with naming(self.path):
            level, self.parts = split(self.names)
        if self.parts:
            folder = self.chosen(part)
            self.names = [name for name in self.names if PurePosixPath(name).parts[level:level + 1] == (folder,)]
            loose = [name for name in self.names if len(PurePosixPath(name).parts) == level + 2]
            if loose:
                raise ImageError(f"{self.path}: {loose[0]} lies in no class folder of that part: {CURE}")
        labels, self.root = class_folders(self.names, self.path)
        self.classes = tuple(sorted(set(labels)))
        self.empty = tuple(sorted(folders_in(found, self.root) - set(self.classes)))
        index = {name: k for k, name in enumerate(self.classes)}
        self.folders = np.array([index[label] for label in labels], np.int64)

    def notes(self):
        """What a person would want to know of how the folders were understood, a line each."""
        if self.parts:
            rest = [f"{name}/" for name in sorted(self.parts.values()) if name != PurePosixPath(self.root).name]
            yield f"{self.path}: the images of {self.root}, those of {', '.join(rest)} left aside"
        if self.empty:
            shown = ", ".join(self.empty[:5]) + (", …" if len(self.empty) > 5 else "")
            yield f"{self.path}: no images, and so no class, in {self.root}{{{shown}}}"

    def chosen(self, part):
        """The name of the folder of that part."""
        part = part or next((part for part in ("test", "val") if part in self.parts), "train")
        if part not in self.parts:
            raise ImageError(f"{self.path} holds {' and '.join(f'{name}/' for name in sorted(self.parts.values()))}, "
                             f"and no {part} images; name the folder that is meant")
        return self.parts[part]

    def __len__(self):
        return len(self.names)

    def open(self, k):
        """Image ``k`` as a binary file with a name."""
        if self.archive is None:
            return open_file(os.path.join(self.path, self.names[k]))
        return NamedBytes(self.read_member(self.names[k]), f"{self.path}/{self.names[k]}")

    def read_member(self, name):
        """One image's bytes out of the zip."""
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

        ``limit`` takes so many images, evenly spaced, so that every class keeps its share.  While one batch is used,
        ``threads`` others are read (Pillow releases the interpreter lock while it decodes).
        """
        recipe = preprocessing_of(model_or_preset)

        def load(part):
            return np.stack([self.load(recipe, k) for k in part]), self.folders[part]

        return prefetch(load, in_batches(len(self), batch_size, limit), threads)

    def load(self, recipe, k):
        """Image ``k``, prepared."""
        with self.open(k) as file:
            return recipe(file)


def in_batches(n, batch_size, limit=None):
    """Indices of ``n`` images in batches; with a ``limit`` so many of them, evenly spaced."""
    chosen = np.arange(n) if limit is None or limit >= n else np.arange(limit) * n // limit
    return [chosen[start:start + batch_size] for start in range(0, len(chosen), batch_size)]


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
    """The files and folders under a folder as paths relative to it, symbolic links followed once.

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


def is_image_name(name):
    """Is this called like an image, and not hidden?"""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
    return not hidden and name.lower().endswith(SUFFIXES)


@contextmanager
def naming(path):
    """An ImageError from inside begins with the path."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def split(names):
    """(how many folders all images share, {part: folder}) where the folders below those are the parts of a dataset."""
    parents = [parent for parent in (PurePosixPath(name).parts[:-1] for name in names) if parent]
    if not parents:
        return 0, {}
    level, inside = class_level(parents), {}                              # folder → the folders in it that hold images
    for parent in parents:
        inside.setdefault(parent[level], set()).update(parent[level + 1:level + 2])
    called = {top: part_called(top) for top in sorted(inside) if part_called(top)}
    others = sorted(inside.keys() - called.keys())
    alike = any(inside[top] & inside[other] for top in called for other in others)
    shown = " and ".join(f"{name}/" for name in called)
    if others and (alike or len(called) > 1):
        raise ImageError(f"beside {shown} there are images in {others[0]}/: {CURE}")
    if others or not any(inside.values()):
        return level, {}
    if len(set(called.values())) < len(called):
        raise ImageError(f"of {shown} two are the same part: {CURE}")
    return level, {part: top for top, part in called.items()}


def part_called(name):
    """The part that a name means: Test_Set → test; or None."""
    word = "".join(c for c in name.lower() if c.isalnum())
    words = {word, *(word.removesuffix(kind) for kind in KINDS)}
    return next((part for part, known in PARTS.items() if words & known), None)


def folders_in(found, root):
    """The names of the folders right inside ``root``, hidden ones left out."""
    below = (name[len(root):].split("/") for name in found if name.startswith(root))
    return {first for first, *rest in below if rest and first[:1] not in ("", ".") and first != "__MACOSX"}


def class_level(parents):
    """How many leading folders all images share, of those that do not name a class; −1 where one lies in no folder."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(min(parents), max(parents))))
    return shared - any(len(parent) == shared for parent in parents)      # one class alone, or a/1.jpg beside a/b/2.jpg


def class_folders(names, path):
    """The class of each image, the first folder below those that all of them share; and what leads to the classes."""
    parents = [PurePosixPath(name).parts[:-1] for name in names]
    level = class_level(parents)
    if level < 0:
        loose = next(name for name, parent in zip(names, parents) if not parent)
        raise ImageError(f"{path}: {loose} lies in no class folder; a dataset is <class>/<image>, such as cat/1.jpg")
    return [parent[level] for parent in parents], "".join(f"{part}/" for part in parents[0][:level])
