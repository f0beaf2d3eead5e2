"""What the folders of a dataset mean, read off the images' paths: its parts (train/, test/) and its classes."""

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import PurePosixPath

from .errors import ImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff", ".jp2", ".jfif", ".avif")
PARTS = {"train": {"train", "training"}, "val": {"val", "valid", "validation", "dev"}, "test": {"test", "testing"}}
KINDS = ("dataset", "set", "data", "images")  # what may follow: test-images/, training_set/
CURE = "name the folder of class folders that is meant"


def is_image_name(name: str) -> bool:
    """Whether a path has an image's suffix and is not hidden."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
    return not hidden and name.lower().endswith(SUFFIXES)


def dataset_parts(names: Iterable[str], tables: Iterable[str] = ()) -> tuple[int, dict[str, str], set[str]]:
    """(level, {part: folder}, folders of images without labels): the folders ``level`` levels down, if they are parts.

    ``tables`` are paths of tables of labels: a folder that holds one needs no class folders.  Without one, a part whose
    images all lie in images/ has no labels, as Tiny-ImageNet's test images.  The dictionary is empty where the folders
    are no parts of a dataset.

    Raises ImageError where they could be parts or classes.
    """
    parents = [parent for parent in (PurePosixPath(name).parts[:-1] for name in names) if parent]
    if not parents:
        return 0, {}, set()
    level, inside = class_level(parents), {}  # {folder: the folders in it that hold images}
    for parent in parents:
        inside.setdefault(parent[level], set()).update(parent[level + 1 : level + 2])
    called = {top: part for top in sorted(inside) if (part := part_named(top))}
    others = sorted(inside.keys() - called.keys())
    alike = any(inside[top] & inside[other] for top in called for other in others)
    shown = " and ".join(f"{name}/" for name in called)
    if others and (alike or len(called) > 1):
        raise ImageError(f"beside {shown} there are images in {others[0]}/: {CURE}")
    with_table = {parts[level] for table in tables if len(parts := PurePosixPath(table).parts) == level + 2}
    if others or not (any(inside.values()) or inside.keys() <= with_table):
        return level, {}, set()
    if len(set(called.values())) < len(called):
        raise ImageError(f"of {shown} two are the same part: {CURE}")
    bare = {top for top in called if top not in with_table and inside[top] and inside[top] <= {"images"}}
    bare = bare if len(bare) < len(called) else set()
    return level, {part: top for top, part in called.items() if top not in bare}, bare


def words_of(text: str) -> list[str]:
    """The words in a file's name, in lower case."""
    return re.split("[^a-z0-9]+", text.lower())


def part_named(name: str) -> str | None:
    """The part of a dataset that a folder's name means, if any: Test_Set → test."""
    word = "".join(c for c in name.lower() if c.isalnum())
    words = {word, *(word.removesuffix(kind) for kind in KINDS)}
    return next((part for part, known in PARTS.items() if words & known), None)


def class_folders(names: Sequence[str], path: str) -> tuple[list[str], str]:
    """(the class of each image, the folder that holds the class folders): the first folder that not all images share.

    ``path``, where the images lie, begins the ImageError for an image in no class folder.
    """
    parents = [PurePosixPath(name).parts[:-1] for name in names]
    level = class_level(parents)
    if level < 0:
        loose = next(name for name, parent in zip(names, parents) if not parent)
        raise ImageError(f"{path}: {loose} lies in no class folder; a dataset is <class>/<image>, such as cat/1.jpg")
    return [parent[level] for parent in parents], "".join(f"{part}/" for part in parents[0][:level])


def class_level(parents: Sequence[tuple[str, ...]]) -> int:
    """How many leading folders all images share, less one that names a class; −1 where an image lies in no folder."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(min(parents), max(parents))))
    return shared - any(len(parent) == shared for parent in parents)  # a single class, or a/1.jpg beside a/b/2.jpg


def folders_in(found: Iterable[str], root: str) -> set[str]:
    """The names of the folders directly in ``root``, except hidden ones."""
    below = (name[len(root) :].split("/") for name in found if name.startswith(root))
    return {first for first, *rest in below if rest and first[:1] not in ("", ".") and first != "__MACOSX"}
