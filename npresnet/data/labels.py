"""Class names of the datasets that published weights were trained on, and how class folders are matched with them."""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ..backend import Array
from ..formats.limits import open_file
from ..formats.stream import parse_json
from .errors import ImageError

FOLDER = Path(__file__).parent / "classes"
NUMBER, WORDNET = re.compile(r"[0-9]{1,9}"), re.compile(r"n[0-9]{8}")  # a class folder's name
LARGEST = 10**6  # bytes of a file of class names
DATASETS = ("imagenet", "cifar10", "cifar100")


@cache
def class_names(dataset: str) -> tuple[str, ...]:
    """The names of ``"imagenet"`` (1000), ``"cifar10"`` or ``"cifar100"``; name k belongs to logit k.

    ImageNet's come from torchvision (BSD-3-Clause, see classes/LICENSE.txt).
    """
    if dataset not in DATASETS:
        raise ValueError(f"no class names for {dataset!r}; there are names for {', '.join(DATASETS)}")
    return tuple((FOLDER / f"{dataset}.txt").read_text(encoding="utf-8").splitlines())


def read_class_names(path: str | os.PathLike[str], count: int) -> tuple[str, ...]:
    """The ``count`` class names in a file: one a line, or in JSON a list, or {number: name or [WordNet's name, name]}.

    Raises ImageError where they are not so many, or the file is neither.
    """
    with open_file(path) as file:
        content = file.read(LARGEST + 1).decode("utf-8-sig", errors="replace")
    if len(content) > LARGEST:
        raise ImageError(f"{path}: is no list of class names; it has more than {LARGEST:,} bytes")
    if content.lstrip()[:1] in ("[", "{"):
        names = names_in_json(path, content)
    else:
        names = [line.strip() for line in content.splitlines() if line.strip()]
    if len(names) != count:
        raise ImageError(f"{path}: {len(names)} class names for a network of {count} classes")
    return tuple(names)


def names_in_json(path: str | os.PathLike[str], text: str) -> list[str]:
    """The class names in a JSON list, or in an object {"0": name, …}; of a list of names the last."""
    try:
        value = parse_json(text, "the list of class names")
        if isinstance(value, dict):
            value = [value[str(k)] for k in range(len(value))]
        names = [name[-1] if isinstance(name, list) else name for name in value]
        if all(isinstance(name, str) for name in names):
            return names
    except (ValueError, KeyError, IndexError, RecursionError):
        pass
    raise ImageError(f"{path}: class names in JSON are a list, or an object whose keys are 0, 1, 2 …")


@cache
def wordnet_names() -> dict[str, str]:
    """{WordNet's identifier: class name} of ImageNet's 1000 classes."""
    identifiers = (FOLDER / "imagenet-wordnet.txt").read_text(encoding="utf-8").split()
    return dict(zip(identifiers, class_names("imagenet")))


def readable(names: Sequence[str], words: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The names, with class names for WordNet's identifiers: ImageNet's where it has that class, else ``words``'.

    >>> readable(["n01440764", "n00000001", "cat"])
    ('tench', 'n00000001', 'cat')

    What would give two of them one name stays as it is.
    """
    known = {**(words or {}), **wordnet_names()}
    found = [known.get(name, name) if WORDNET.fullmatch(name) else name for name in names]
    counts = Counter(found)
    return tuple(new if counts[new] == 1 else name for name, new in zip(names, found))


def match_classes(folders: Sequence[str], classes: Sequence[str] | None, num_classes: int) -> tuple[Array, str]:
    """Which of a model's classes each class folder means: (indices (len(folders),), how they were matched).

    - By name, where each folder's name is that of one class, exactly or up to case, hyphens and underscores.  WordNet's
      identifiers of ImageNet's classes (n01440764) are those classes' names.
    - By number, where no folder has a class's name and their names are different class numbers.
    - In sorted order, where neither holds and there are as many folders as classes, if names could not decide: the
      model has no class names and no folder's name is a number, or the folders are WordNet's names (n01440764) of
      ImageNet's 1000 classes.

    Raises ImageError otherwise, also for a single unknown folder among known ones: a wrong match would look like a bad
    model.
    """
    known = readable(classes or ())
    exact, loose = places(known, str), places(known, simplified)
    found = [exact.get(name) or loose.get(simplified(name), []) for name in readable(folders)]
    unknown = [folder for folder, where in zip(folders, found) if len(where) != 1]
    if not unknown:
        return np.array([where[0] for where in found]), "by name"
    none = len(unknown) == len(folders)
    numbers = [int(folder) for folder in folders if NUMBER.fullmatch(folder)]
    if none and len(set(numbers)) == len(folders) and max(numbers) < num_classes:
        return np.array(numbers), "by number"
    if none and len(folders) == num_classes and (sorts_as_imagenet(folders, classes) if classes else not numbers):
        return np.arange(num_classes), f"in sorted order ({folders[0]} is class 0, {folders[-1]} is {num_classes - 1})"
    shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
    raise ImageError(
        f"{len(folders)} class folders for a model of {num_classes} classes, and {shown} "
        f"{'are' if len(unknown) > 1 else 'is'} not among its class names: rename, or name every "
        "folder by its class number"
    )


def sorts_as_imagenet(folders: Sequence[str], classes: Sequence[str]) -> bool:
    """Whether the folders have WordNet names and the 1000 classes do not: sorted, they are in ImageNet's order."""
    return len(classes) == 1000 and all(map(WORDNET.fullmatch, folders)) and not any(map(WORDNET.fullmatch, classes))


def places(names: Sequence[str], key: Callable[[str], str]) -> dict[str, list[int]]:
    """{key(name): its indices in ``names``}"""
    found: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        found.setdefault(key(name), []).append(k)
    return found


def simplified(name: str) -> str:
    """A class name in lower case, its hyphens and underscores as spaces."""
    return name.lower().replace("_", " ").replace("-", " ").strip()
