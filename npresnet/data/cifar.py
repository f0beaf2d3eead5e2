"""CIFAR-10 and CIFAR-100 as their author distributes them, in the binary and in the Python version [K].

    cifar-10-binary.tar.gz     data_batch_1.bin … test_batch.bin       records of  label, 3072 pixels
    cifar-100-binary.tar.gz    train.bin, test.bin                     records of  coarse label, fine label, 3072 pixels
    cifar-10-python.tar.gz     data_batch_1 … test_batch               pickles of  {data, labels, …}
    cifar-100-python.tar.gz    train, test                             pickles of  {data, fine_labels, …}

The tar is read as it is, packed or not, or as the folder that came out of it.

[K] https://www.cs.toronto.edu/~kriz/cifar.html
"""

import os
import tarfile
from typing import NamedTuple

import numpy as np

from ..formats.errors import WeightsError
from ..formats.limits import open_file, size_of
from . import ImageError, class_names
from .cifar_pickle import PIXELS, unpickled
from .tar_stream import MAX_BYTES, damage_of, unpacked


class Layout(NamedTuple):
    """Which files hold the images, and how one file is read: bytes, label's position → (pixels, labels)."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: str
    pickled: bool
    label: int | str                      # the label's byte in a record, or its key in the pickle


def batches(suffix=""):
    return tuple(f"data_batch_{k}{suffix}" for k in range(1, 6)), (f"test_batch{suffix}",)


LAYOUTS = (
    Layout(*batches(".bin"), "cifar10", False, 0),
    Layout(*batches(), "cifar10", True, "labels"),
    Layout(("train.bin",), ("test.bin",), "cifar100", False, 1),
    Layout(("train",), ("test",), "cifar100", True, "fine_labels"),
)


def is_cifar(path) -> bool:
    """Is this a tar, or a folder with the files of one of the layouts?"""
    if os.path.isdir(path):
        return any(all(os.path.isfile(os.path.join(path, name)) for name in layout.train) for layout in LAYOUTS)
    if not os.path.isfile(path):
        return False
    try:
        with open_file(path) as file, damage_of(path), unpacked(file, path) as plain:
            tarfile.TarInfo.frombuf(plain.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except ImageError:                                                               # what a wrong header becomes
        return False
    return True


def read_cifar(path, part="train"):
    """(pixels (N, 32, 32, 3) uint8, labels (N,) int64, class names) of the part ``"train"`` or ``"test"``.

    Raises ImageError for what is no CIFAR archive, or a damaged one.
    """
    if os.path.isdir(path):
        with damage_of(path):
            return parsed(*open_folder(path, part), path)
    with open_file(path) as file:
        return read_archive(file, path, part)


def read_archive(file, path, part="train"):
    """The same of an open tar, packed or not."""
    with damage_of(path), unpacked(file, path) as plain:
        return parsed(*open_tar(plain, path, part), path)


def parsed(layout, files, path):
    parts = [(unpickled if layout.pickled else records)(data, layout.label) for data in files]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts))
    classes = class_names(layout.classes)
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < len(classes):
        raise ImageError(f"{path}: damaged archive (labels outside 0 … {len(classes) - 1}, or no images)")
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels.astype(np.int64), classes


def open_folder(path, part):
    layout = find_layout(path, {name for name in os.listdir(path) if os.path.isfile(os.path.join(path, name))})
    return layout, [read_file(os.path.join(path, name)) for name in getattr(layout, part)]


def open_tar(file, path, part):
    with tarfile.open(fileobj=file, mode="r:") as archive:
        members = {os.path.basename(member.name): member for member in archive if member.isreg()}
        layout = find_layout(path, members.keys())
        wanted = getattr(layout, part)
        missing = [name for name in wanted if name not in members]
        if missing:
            raise ImageError(f"{path}: {', '.join(missing)} is missing; fetch the archive again")
        forwards = sorted(wanted, key=lambda name: members[name].offset_data)        # for it may be packed
        found = {name: file.member(members[name]) for name in forwards}
        file.finish()
        return layout, [found[name] for name in wanted]


def find_layout(path, names):
    for layout in LAYOUTS:
        if names >= {*layout.train}:
            return layout
    raise ImageError(f"{path}: none of the CIFAR archives (looked for {', '.join(f.train[0] for f in LAYOUTS)})")


def read_file(path):
    with open_file(path) as file:
        if size_of(file) > MAX_BYTES:
            raise ImageError(f"{path}: {size_of(file):,} bytes are more than a CIFAR file has")
        return file.read()


def records(data, label):
    """The binary version: rows of labels and pixels."""
    width = PIXELS + label + 1
    if len(data) % width:
        raise WeightsError(f"{len(data):,} bytes are no whole number of records of {width}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, width)
    return rows[:, label + 1:], rows[:, label]
