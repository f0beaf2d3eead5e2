"""A labelled dataset: a folder of class folders, or of images and a table of labels, or a zip of one of these.

    cifar10-test.zip            photos/
      test/airplane/0001.jpg      cat/a.png
      test/airplane/0002.jpg      cat/kitten/b.png
      test/bird/0001.jpg          dog/c.jpeg

Leading folders that all images share are skipped; the next one names the class.  Where all the folders there are named
like the parts of a dataset (train/ and val/, Test/, training_set/) and at least one holds folders itself, they are its
parts, and the classes lie below; folders that could be parts or classes are refused.  Hidden files, files without an
image's suffix, and the ``__MACOSX`` entries of zips are left out.  Where the images lie in no class folders, a table
beside them says their classes (see :mod:`.label_tables`); such a table may also be named itself.
"""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..backend import Array
from ..formats.limits import open_file
from .class_folders import CURE, class_folders, dataset_parts, folders_in, is_image_name
from .errors import ImageError
from .files import NamedBytes, open_zip, read_member, walk
from .images import StrPath, read_image
from .label_tables import MAX_TABLE, in_order, is_table, labelled, table_for, word_names
from .labels import WORDNET, readable
from .prefetch import prefetch
from .preprocessing import Preprocessing, preprocessing_of


class ImageFolder:
    """The images under ``path``, sorted by name; none is decoded before it is read.

    part     which part to read where ``path`` holds several: "train", "val" or "test"; None: the test images, or the
             validation images where there are none
    parts    {part: its folder's or table's name}, empty where ``path`` holds one set of images
    bare     the folders of parts without labels, which are left aside
    table    the table that says the classes, "" where class folders do
    classes  the class folders' names or the table's labels, sorted
    empty    the names of the class folders without an image
    names    each image's path inside ``path``
    folders  the index into ``classes`` of each image, (N,) int64

    Raises ImageError where there are no images in class folders, or where the folders' meaning is ambiguous.
    """

    def __init__(self, path: StrPath, part: str | None = None):
        self.path, named = os.fspath(path), ""
        if os.path.isfile(self.path) and is_table(self.path):
            self.path, named = os.path.dirname(self.path) or ".", os.path.basename(self.path)
        self.archive = open_zip(self.path) if os.path.isfile(self.path) else None
        self.found = self.archive.namelist() if self.archive else list(walk(self.path))
        self.names = sorted({name for name in self.found if is_image_name(name)})
        if not self.names:
            raise ImageError(f"{self.path}: no images in class folders here (such as {self.path}/cat/1.jpg)")
        self.parts, self.bare = {}, set()
        if not named:
            self.choose_part(part)
        labels = self.labels_of(named, part)
        self.classes = in_order(labels)
        index = {name: k for k, name in enumerate(self.classes)}
        self.folders = np.array([index[label] for label in labels], np.int64)

    def choose_part(self, part: str | None) -> None:
        """Keep the images of one part, where folders are the parts of a dataset."""
        try:
            level, self.parts, self.bare = dataset_parts(self.names, filter(is_table, self.found))
        except ImageError as error:
            raise ImageError(f"{self.path}: {error}") from None
        if self.parts:
            self.names = self.inside(self.chosen(part), level)

    def labels_of(self, named: str, part: str | None) -> list[str]:
        """The class of each image; ``named`` is the table that was named itself, if any."""
        table, parts = (named, {}) if named else table_for(part, self.names, self.found, self.path)
        found = labelled(table, self.contents(table), self.names, self.path) if table else None
        if named and found is None:
            raise ImageError(f"{self.path}/{named}: its first line is neither image,label nor an image and its label")
        if found is None:
            self.table, self.missing, self.others = "", [], 0
            labels, self.root = class_folders(self.names, self.path)
            self.empty = tuple(sorted(folders_in(self.found, self.root) - set(labels)))
            return labels
        self.table, self.missing, self.others, self.empty = table, found.missing, found.others, ()
        self.parts, self.root = self.parts or parts, table[: len(table) - len(PurePosixPath(table).name)]
        self.names = sorted(found.labels)
        return [found.labels[name] for name in self.names]

    def contents(self, name: str) -> bytes:
        """The bytes of a table."""
        if self.archive is not None:
            return read_member(self.archive, name, self.path)
        with open_file(os.path.join(self.path, name)) as file:
            return file.read(MAX_TABLE + 1)

    def titles(self) -> tuple[str, ...]:
        """The classes' names for people: WordNet's identifiers (n01440764) by the first of their names, where known."""
        words = next((name for name in self.found if PurePosixPath(name).name == "words.txt"), None)
        known = readable(self.classes)
        if words is None or not any(map(WORDNET.fullmatch, known)):
            return known
        return readable(self.classes, word_names(self.contents(words)))

    def chosen(self, part: str | None) -> str:
        """The name of the folder of ``part``."""
        part = part or next((part for part in ("test", "val") if part in self.parts), "train")
        if part not in self.parts:
            raise ImageError(
                f"{self.path} holds {' and '.join(f'{name}/' for name in sorted(self.parts.values()))}, "
                f"and no {part} images{' with labels' if self.bare else ''}; name the folder that is meant"
            )
        return self.parts[part]

    def inside(self, folder: str, level: int) -> list[str]:
        """The names of the images in the part's ``folder``, ``level`` levels down."""
        names = [name for name in self.names if PurePosixPath(name).parts[level : level + 1] == (folder,)]
        loose = [name for name in names if len(PurePosixPath(name).parts) == level + 2]
        tables = [name for name in self.found if is_table(name) and PurePosixPath(name).parts[level:-1] == (folder,)]
        if loose and not tables:
            raise ImageError(f"{self.path}: {loose[0]} lies in no class folder of that part: {CURE}")
        return names

    def notes(self) -> Iterator[str]:
        """Lines for a person: which part was read, and which class folders hold no image."""
        if self.parts and not self.table.count("/") and self.table in self.parts.values():
            yield f"{self.path}: the images of {self.table}"
        elif self.parts:
            rest = [f"{name}/" for name in sorted(self.parts.values()) if name not in PurePosixPath(self.root).parts]
            yield f"{self.path}: the images of {self.root}, those of {', '.join(rest)} left aside"
        if self.bare:
            yield f"{self.path}: {', '.join(f'{name}/' for name in sorted(self.bare))} has no labels, and is left aside"
        if self.missing:
            shown = ", ".join(self.missing[:5]) + (", …" if len(self.missing) > 5 else "")
            total = len(self.missing) + len(self.names)
            yield f"{self.path}/{self.table}: {len(self.missing)} of its {total} images are not there: {shown}"
        if self.others:
            yield f"{self.path}/{self.table}: {self.others} images beside it have no label, and are left aside"
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
