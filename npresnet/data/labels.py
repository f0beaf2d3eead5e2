"""The class names of the data sets that published weights were trained on, in the order of the logits; and how the
folders of a data set meet them."""

import re
from functools import cache
from pathlib import Path

import numpy as np

from .errors import ImageError

FOLDER = Path(__file__).parent / "classes"
NUMBER, WORDNET = re.compile(r"[0-9]{1,9}"), re.compile(r"n[0-9]{1,9}")     # a class folder's name
DATASETS = ("imagenet", "cifar10", "cifar100")


@cache
def class_names(dataset: str) -> tuple[str, ...]:
    """The names of ``"imagenet"`` (1000), ``"cifar10"`` or ``"cifar100"``; name k belongs to logit k.

    ImageNet's come from torchvision (BSD-3-Clause, see classes/LICENSE.txt).
    """
    if dataset not in DATASETS:
        raise ValueError(f"no class names for {dataset!r}; there are names for {', '.join(DATASETS)}")
    return tuple((FOLDER / f"{dataset}.txt").read_text(encoding="utf-8").splitlines())


def match_classes(folders, classes, num_classes):
    """Which of a model's classes each class folder means: (indices (len(folders),), how they were matched).

    By name where all of them are names of the model's (case, hyphens and underscores do not matter).  Where none is:
    by number if they are all numbers; in sorted order if there are as many folders as classes, and the model's have
    no names or the folders' are WordNet's (n01440764).  Raises ImageError for anything less, one odd folder among
    names included: a wrong match would look like a bad model.
    """
    known = {}
    for k, name in enumerate(classes or ()):
        known.setdefault(plain(name), []).append(k)
    unknown = [folder for folder in folders if len(known.get(plain(folder), ())) != 1]
    if not unknown:
        return np.array([known[plain(folder)][0] for folder in folders]), "by name"
    some = len(unknown) < len(folders)
    if not some and all(NUMBER.fullmatch(folder) and int(folder) < num_classes for folder in folders):
        return np.array([int(folder) for folder in folders]), "by number"
    coded = all(WORDNET.fullmatch(folder) for folder in folders)
    if not some and len(folders) == num_classes and (coded or not classes):
        return np.arange(num_classes), f"in sorted order ({folders[0]} is class 0, {folders[-1]} is {num_classes - 1})"
    shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
    raise ImageError(f"{len(folders)} class folders for a model of {num_classes} classes, and {shown} "
                     f"{'are' if len(unknown) > 1 else 'is'} not among its class names: rename, or name every "
                     "folder by its class number")


def plain(name):
    """A class name without case and punctuation."""
    return name.lower().replace("_", " ").replace("-", " ").strip()
