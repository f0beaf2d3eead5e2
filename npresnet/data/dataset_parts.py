"""Where the parts of a dataset (train, val, test) lie under a path."""

import os

from .cifar import is_cifar
from .class_folders import part_named, words_of
from .errors import ImageError
from .folder import ImageFolder
from .images import StrPath


def part_path(path: StrPath, part: str) -> StrPath:
    """The zip in the folder ``path`` that is named after the part (cifar10-train-jpeg.zip); else ``path`` itself."""
    if not os.path.isdir(path):
        return path
    zips = [name for name in sorted(os.listdir(path)) if part_of_zip(name) == part]
    if not zips or any(part_named(entry.name) == part and entry.is_dir() for entry in os.scandir(path)):
        return path
    if len(zips) > 1:
        raise ImageError(f"{path}: {', '.join(zips)} are all called {part}: name the one that is meant")
    return os.path.join(path, zips[0])


def part_of_zip(name: str) -> str | None:
    """The part of a dataset that one word in the name of a zip means, if any."""
    stem, suffix = os.path.splitext(name)
    parts = {part for word in words_of(stem) if (part := part_named(word))}
    return parts.pop() if suffix.lower() == ".zip" and len(parts) == 1 else None


def class_folder(path: StrPath, part: str) -> str | None:
    """The folder of class folders that is read for ``part``; None for a zip or an archive of CIFAR."""
    found = None if is_cifar(path) else part_path(path, part)
    return os.path.join(found, ImageFolder(found, part).root) if found and os.path.isdir(found) else None


def has_part(path: StrPath, part: str) -> bool:
    """Whether ``path`` holds that part besides the training images."""
    if is_cifar(path) or part_path(path, part) != path:
        return True
    return part_path(path, "train") == path and part in ImageFolder(path, "train").parts
