"""Opening a dataset: which kind it is, which of its images can be read, and whether one can train on it."""

import errno
import os
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..backend import Array
from .cifar import is_cifar, read_cifar
from .dataset import Dataset, spread
from .dataset_parts import part_path
from .errors import ImageError
from .folder import ImageFolder
from .images import StrPath
from .labels import match_classes
from .prefetch import prefetch
from .preprocessing import Preprocessing, center_crop, preprocessing_of

Show = Callable[[int, int], Any]
DOWNLOADS = ("cifar10", "cifar100")  # what npresnet download fetches


def open_dataset(
    path: StrPath,
    model_or_preset: object,
    *,
    part: str = "train",
    in_memory: bool = True,
    classes: Sequence[str] | None = None,
    strict: bool = False,
    limit: int | None = None,
    workers: int = 2,
    show: Show | None = None,
) -> tuple[Dataset, list[str]]:
    """(the images under ``path``, one line for each that could not be read).

    path             a CIFAR archive; a folder of class folders, or of images with a table of labels, or a zip of one; a
                     table of labels; or a folder that holds such as its part (train/ or cifar10-train-jpeg.zip)
    model_or_preset  whose preprocessing says how images in memory are resized and cropped
    classes          class names that the folders must have, in this order
    strict           whether an unreadable image is an error instead of a line
    limit            only so many images, evenly over the classes; the others are not read
    show             called with (done, total) while images are read
    """
    if (dataset := cifar_at(path, part)) is not None:
        return with_classes(dataset.subset(spread(dataset.labels, limit)), path, classes), []
    path, preprocessing = part_path(path, part), preprocessing_of(model_or_preset)
    if preprocessing.crop is None:
        raise ValueError("training needs images of one size: give the model a preprocessing with a crop")
    folder = ImageFolder(path, part)
    prepare = partial(cropped if in_memory else check_croppable, preprocessing)
    if strict and folder.missing:
        raise ImageError(f"{folder.path}: {folder.missing[0]}, which {folder.table} names, is not there")
    numbers = spread(folder.folders, limit).tolist()
    good, pixels, checks, broken = read_all(
        folder, numbers, prepare, strict, workers, show or (lambda done, total: None)
    )
    if classes is None:
        check_readable(folder, set(folder.folders[good].tolist()))
    how: dict[str, Any] = (
        {"pixels": np.stack(pixels)} if in_memory else {"numbers": good, "folder": folder, "checks": checks}
    )
    dataset = with_classes(Dataset(folder.folders[good], folder.titles(), **how), path, classes)
    dataset.notes = tuple(folder.notes())
    return dataset, broken


def open_for_evaluation(path: StrPath, part: str | None = None) -> Dataset:
    """All images under ``path`` as they are, of whatever :func:`open_dataset` reads.

    ``part`` None stands for the test images, or the validation images where there are none.
    """
    if (dataset := cifar_at(path, part or "test")) is not None:
        return dataset
    folder = ImageFolder(part_path(path, part or "test"), part)
    dataset = Dataset(folder.folders, folder.titles(), folder=folder)
    dataset.notes = tuple(folder.notes())
    return dataset


def cifar_at(path: StrPath, part: str) -> Dataset | None:
    """The images of an archive of CIFAR; None where ``path`` is something else."""
    if not os.path.exists(path):
        fetch = f"; fetch it with: npresnet download {path}" if path in DOWNLOADS else ""
        raise FileNotFoundError(errno.ENOENT, f"No such file or folder{fetch}", path)
    if is_cifar(path):
        pixels, labels, names = read_cifar(path, part)
        return Dataset(labels, names, pixels=pixels)
    return None


def with_classes(dataset: Dataset, path: StrPath, classes: Sequence[str] | None) -> Dataset:
    """The dataset with labels that index ``classes``; without ``classes``, one of a single class is refused."""
    if classes is not None:
        index, _ = match_classes(dataset.classes, classes, len(classes))
        return Dataset(index[dataset.labels], classes, dataset.numbers, dataset.pixels, dataset.folder, dataset.checks)
    if len(set(dataset.labels.tolist())) < 2:
        raise ImageError(
            f"{path}: all images are of one class ({dataset.classes[dataset.labels[0]]}); "
            "training needs at least two class folders, such as cat/ and dog/, or labels"
        )
    return dataset


def check_readable(folder: ImageFolder, labels: set[int]) -> None:
    """Raise ImageError for a class none of whose images can be read; ``labels`` are those of the readable images."""
    lost = [name for k, name in enumerate(folder.classes) if k not in labels]
    if lost:
        raise ImageError(
            f"{folder.path}: none of the images of {', '.join(lost[:5])}{', …' if len(lost) > 5 else ''} "
            "can be read: mend them, or remove the folder"
        )


def read_all(
    folder: ImageFolder,
    numbers: Sequence[int],
    prepare: Callable[[Image.Image], Any],
    strict: bool,
    workers: int,
    show: Show,
) -> tuple[Array, list[Any], Array, list[str]]:
    """(indices of the good images, prepare(image) of each, CRC-32 of every file, a line for each broken image).

    ``numbers`` are those of the images to read.

    Every image is decoded here, so that no broken one ends a training run after hours.
    """

    def attempt(number: int):
        try:
            with folder.open(number) as file:
                check = checksum(file)
            return prepare(folder.read(number)), check, None
        except (ImageError, OSError) as error:  # OSError: a dangling link, no permission
            if strict:
                raise
            name = os.path.join(folder.path, folder.names[number])
            text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            return None, 0, text if text.startswith(name) else f"{name}: {text}"

    good, prepared, broken, checks = [], [], [], np.zeros(len(folder), np.uint32)
    results = prefetch(attempt, numbers, workers, depth=64 * workers)
    for done, (number, (found, check, error)) in enumerate(zip(numbers, results), 1):
        if error is None:
            good.append(number)
            prepared.append(found)
            checks[number] = check
        else:
            broken.append(error)
        show(done, len(numbers))
    if not good:
        raise ImageError(f"{folder.path}: none of its {len(numbers)} images can be read; the first: {broken[0]}")
    return np.array(good), prepared, checks, broken


def checksum(file: BinaryIO) -> int:
    """CRC-32 of a file's bytes."""
    check = 0
    while part := file.read(1 << 20):
        check = zlib.crc32(part, check)
    return check


def check_croppable(preprocessing: Preprocessing, image: Image.Image) -> None:
    """Raise the ImageError that :func:`cropped` would raise."""
    width, height = preprocessing.resized_size(image) or image.size
    if preprocessing.crop and min(width, height) < preprocessing.crop:
        raise ImageError(
            f"an image of {width}x{height} is smaller than the crop of {preprocessing.crop}x{preprocessing.crop}"
        )


def cropped(preprocessing: Preprocessing, image: Image.Image) -> Array:
    """The image resized and cropped, (side, side, 3) uint8."""
    return np.asarray(center_crop(preprocessing.resized(image), preprocessing.crop))
