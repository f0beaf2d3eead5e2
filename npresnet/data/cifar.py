"""CIFAR-10 and CIFAR-100 as their author distributes them, in the binary and in the Python version [K].

    cifar-10-binary.tar.gz     data_batch_1.bin … test_batch.bin       records of  label, 3072 pixels
    cifar-100-binary.tar.gz    train.bin, test.bin                     records of  coarse label, fine label, 3072 pixels
    cifar-10-python.tar.gz     data_batch_1 … test_batch               pickles of  {data, labels, …}
    cifar-100-python.tar.gz    train, test                             pickles of  {data, fine_labels, …}

They are read from the tar, compressed or not, from the folder that it unpacks to, or from a folder that holds either
under its published name.

[K] https://www.cs.toronto.edu/~kriz/cifar.html
"""

import os
import tarfile
from collections.abc import Callable, Iterable, Set
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from ..backend import Array
from ..formats.errors import WeightsError
from ..formats.limits import open_file, size_of
from .cifar_pickle import PIXELS, unpickled
from .errors import ImageError
from .images import StrPath
from .labels import class_names
from .tar_stream import MAX_BYTES, TarStream, explained, unpacked


class Layout(NamedTuple):
    """Which files hold the images, and how one of them is read."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: str
    label: Any  # the position of the label's byte in a record, or its key in the pickle
    read: Callable[[bytes, Any], tuple[Array, Array]]  # (bytes, label) → (pixels, labels)


PUBLISHED = (  # of each dataset the names, packed and unpacked, of its archives
    ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "cifar-10-batches-py", "cifar-10-batches-bin"),
    ("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz", "cifar-100-python", "cifar-100-binary"),
)
Labelled = tuple[Array, Array, tuple[str, ...]]


def cifar10_files(suffix: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of CIFAR-10's files: (train, test)."""
    return tuple(f"data_batch_{k}{suffix}" for k in range(1, 6)), (f"test_batch{suffix}",)


def published_inside(path: StrPath) -> StrPath:
    """The archive of CIFAR, packed or unpacked, that the folder ``path`` holds; ``path`` itself where it holds none.

    Raises ImageError where it holds archives of both datasets.
    """
    if not os.path.isdir(path):
        return path
    there = [[name for name in names if os.path.exists(os.path.join(path, name))] for names in PUBLISHED]
    found = [names[0] for names in there if names]
    if len(found) > 1:
        raise ImageError(f"{path} holds {' and '.join(found)}: name the one that is meant")
    return os.path.join(path, found[0]) if found else path


def is_cifar(path: StrPath) -> bool:
    """Whether this is a tar, or a folder with the files of one of the layouts, or a folder that holds one of these."""
    path = published_inside(path)
    if os.path.isdir(path):
        return any(all(os.path.isfile(os.path.join(path, name)) for name in layout.train) for layout in LAYOUTS)
    if not os.path.isfile(path):
        return False
    try:
        with open_file(path) as file, explained(path), unpacked(file, path) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except ImageError:  # the header is not a tar's
        return False
    return True


def read_cifar(path: StrPath, part: str = "train") -> Labelled:
    """(pixels (N, 32, 32, 3) uint8, labels (N,) int64, class names) of the part ``"train"`` or ``"test"``.

    Raises ImageError for what is not a CIFAR archive, or a damaged one.
    """
    path = published_inside(path)
    if os.path.isdir(path):
        with explained(path):
            return parsed(*open_folder(path, part), path)
    with open_file(path) as file:
        return read_archive(file, path, part)


def read_archive(file: BinaryIO, path: StrPath, part: str = "train") -> Labelled:
    """:func:`read_cifar` of an open tar, compressed or not."""
    with explained(path), unpacked(file, path) as stream:
        return parsed(*open_tar(stream, path, part), path)


def parsed(layout: Layout, files: Iterable[bytes], path: StrPath) -> Labelled:
    """The images and labels in the bytes of some files of one layout."""
    parts = [layout.read(data, layout.label) for data in files]
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts))
    classes = class_names(layout.classes)
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < len(classes):
        raise ImageError(f"{path}: damaged archive (labels outside 0 … {len(classes) - 1}, or no images)")
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels.astype(np.int64), classes


def open_folder(path: StrPath, part: str) -> tuple[Layout, list[bytes]]:
    """The layout of an unpacked archive, and the bytes of each file of the part."""
    layout = find_layout(path, {name for name in os.listdir(path) if os.path.isfile(os.path.join(path, name))})
    return layout, [read_file(os.path.join(path, name)) for name in getattr(layout, part)]


def open_tar(stream: TarStream, path: StrPath, part: str) -> tuple[Layout, list[bytes]]:
    """The layout of an archive, and the bytes of each file of the part."""
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:  # which reads, seeks and tells
        members = {os.path.basename(member.name): member for member in archive if member.isreg()}
        layout = find_layout(path, members.keys())
        wanted = getattr(layout, part)
        missing = [name for name in wanted if name not in members]
        if missing:
            raise ImageError(f"{path}: {', '.join(missing)} is missing; fetch the archive again")
        forwards = sorted(wanted, key=lambda name: members[name].offset_data)  # a compressed tar seeks slowly
        found = {name: stream.member(members[name]) for name in forwards}
        stream.finish()
        return layout, [found[name] for name in wanted]


def find_layout(path: StrPath, names: Set[str]) -> Layout:
    """The layout whose training files are all among ``names``."""
    for layout in LAYOUTS:
        if names >= {*layout.train}:
            return layout
    raise ImageError(f"{path}: none of the CIFAR archives (looked for {', '.join(f.train[0] for f in LAYOUTS)})")


def read_file(path: StrPath) -> bytes:
    with open_file(path) as file:
        if size_of(file) > MAX_BYTES:
            raise ImageError(f"{path}: {size_of(file):,} bytes are more than a CIFAR file has")
        return file.read()


def records(data: bytes, label: int) -> tuple[Array, Array]:
    """(pixels (n, 3072), labels (n,)) of the binary version, whose rows are labels and pixels."""
    width = PIXELS + label + 1
    if len(data) % width:
        raise WeightsError(f"{len(data):,} bytes are not a whole number of records of {width}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, width)
    return rows[:, label + 1 :], rows[:, label]


LAYOUTS = (
    Layout(*cifar10_files(".bin"), "cifar10", 0, records),
    Layout(*cifar10_files(), "cifar10", "labels", unpickled),
    Layout(("train.bin",), ("test.bin",), "cifar100", 1, records),
    Layout(("train",), ("test",), "cifar100", "fine_labels", unpickled),
)
