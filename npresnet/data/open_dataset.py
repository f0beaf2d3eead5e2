"""Opening a dataset: which kind it is, what can be read of it, and whether one can train on it."""

import errno
import os
import re
import zlib
from functools import partial

import numpy as np

from . import ImageError, ImageFolder, match_classes, preprocessing_of
from .cifar import is_cifar, read_cifar
from .dataset import Dataset, decoded
from .folder import part_called
from .prefetch import prefetch
from .preprocessing import center_crop


def open_dataset(path, model_or_preset, *, part="train", in_memory=True, classes=None, strict=False, workers=2,
                show=None):
    """(the images under ``path``, one line for each that could not be read).

    path             a CIFAR archive; a folder of class folders or a zip of one; or a folder that holds such as its
                     part (train/ or cifar10-train-jpeg.zip)
    model_or_preset  whose preprocessing says how images in memory are resized and cropped
    classes          class names that the folders must have, in this order
    strict           a broken image is an error instead of a line
    show             called with (done, total) while images are read
    """
    if (source := cifar_at(path, part)) is not None:
        return checked(source, path, classes), []
    path, recipe = archive_of(path, part), preprocessing_of(model_or_preset)
    if recipe.crop is None:
        raise ValueError("training needs images of one size: give the model a preprocessing with a crop")
    folder = ImageFolder(path, part)
    look = partial(cropped if in_memory else croppable, recipe)
    good, pixels, checks, broken = read_all(folder, look, strict, workers, show or (lambda done, total: None))
    if classes is None:
        check_readable(folder, set(folder.folders[good].tolist()))
    how = {"pixels": np.stack(pixels)} if in_memory else {"numbers": good, "folder": folder, "checks": checks}
    source = checked(Dataset(folder.folders[good], folder.classes, **how), path, classes)
    source.notes = tuple(folder.notes())
    return source, broken


def open_for_evaluation(path, part=None):
    """All images under ``path`` as they are, for a model to be judged by: what :func:`open_dataset` reads.

    ``part`` None stands for the test images, or the validation images where there are none.
    """
    if (source := cifar_at(path, part or "test")) is not None:
        return source
    folder = ImageFolder(archive_of(path, part or "test"), part)
    source = Dataset(folder.folders, folder.classes, folder=folder)
    source.notes = tuple(folder.notes())
    return source


def cifar_at(path, part):
    """The images of an archive of CIFAR; None where ``path`` is something else."""
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, "No such file or folder", path)
    if is_cifar(path):
        pixels, labels, names = read_cifar(path, part)
        return Dataset(labels, names, pixels=pixels)
    return None


def checked(source, path, classes):
    """The source with labels for ``classes``; training on a single class is refused."""
    if classes is not None:
        index, _ = match_classes(source.classes, classes, len(classes))
        return Dataset(index[source.labels], classes, source.numbers, source.pixels, source.folder, source.checks)
    if len(set(source.labels.tolist())) < 2:
        raise ImageError(f"{path}: all images are of one class ({source.classes[source.labels[0]]}); "
                         "training needs at least two class folders, such as cat/ and dog/")
    return source


def check_readable(folder, labels):
    """A class to learn needs an image that can be read."""
    lost = [name for k, name in enumerate(folder.classes) if k not in labels]
    if lost:
        raise ImageError(f"{folder.path}: none of the images of {', '.join(lost[:5])}{', …' if len(lost) > 5 else ''} "
                         "can be read: mend them, or remove the folder")


def archive_of(path, part):
    """The zip that is called like the part, where a folder holds one (cifar10-train-jpeg.zip); else ``path``."""
    if not os.path.isdir(path):
        return path
    zips = [name for name in sorted(os.listdir(path)) if part_of_zip(name) == part]
    if not zips or any(part_called(entry.name) == part and entry.is_dir() for entry in os.scandir(path)):
        return path
    if len(zips) > 1:
        raise ImageError(f"{path}: {', '.join(zips)} are all called {part}: name the one that is meant")
    return os.path.join(path, zips[0])


def part_of_zip(name):
    """The part of a dataset that a word in the name of a zip means; or None."""
    stem, suffix = os.path.splitext(name)
    parts = {part_called(word) for word in re.split("[^a-z0-9]+", stem.lower())} - {None}
    return parts.pop() if suffix.lower() == ".zip" and len(parts) == 1 else None


def class_folder(path, part):
    """The folder of class folders that ``open_dataset`` reads; None for a zip or an archive of CIFAR."""
    found = None if is_cifar(path) else archive_of(path, part)
    return os.path.join(found, ImageFolder(found, part).root) if found and os.path.isdir(found) else None


def has_part(path, part) -> bool:
    """Does ``path`` hold that part besides the one to train on?"""
    if is_cifar(path) or archive_of(path, part) != path:
        return True
    return archive_of(path, "train") == path and part in ImageFolder(path, "train").parts


def read_all(folder, look, strict, workers, show):
    """(indices of the good images, look(image) of each, CRC-32 of every file, a line for each broken one).

    Every image is decoded here, so that none breaks a run that has been going for hours.
    """
    def attempt(number):
        try:
            with folder.open(number) as file:
                check = checksum(file)
            return look(decoded(folder, number)), check, None
        except (ImageError, OSError) as error:                          # OSError: a dangling link, no permission
            if strict:
                raise
            name = os.path.join(folder.path, folder.names[number])
            text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            return None, 0, text if text.startswith(name) else f"{name}: {text}"

    good, looked, broken, checks = [], [], [], np.zeros(len(folder), np.uint32)
    for number, (found, check, error) in enumerate(prefetch(attempt, range(len(folder)), workers, depth=64 * workers)):
        if error is None:
            good.append(number)
            looked.append(found)
            checks[number] = check
        else:
            broken.append(error)
        show(number + 1, len(folder))
    if not good:
        raise ImageError(f"{folder.path}: none of its {len(folder)} images can be read; the first: {broken[0]}")
    return np.array(good), looked, checks, broken


def checksum(file) -> int:
    """CRC-32 of a file's bytes, which the decoder then finds in memory."""
    check = 0
    while part := file.read(1 << 20):
        check = zlib.crc32(part, check)
    return check


def croppable(recipe, image):
    """Nothing, where ``cropped`` would give an image; the same error where it would not."""
    width, height = recipe.resized_size(image) or image.size
    if min(width, height) < recipe.crop:
        raise ImageError(f"an image of {width}x{height} is smaller than the crop of {recipe.crop}x{recipe.crop}")


def cropped(recipe, image):
    return np.asarray(center_crop(recipe.resized(image), recipe.crop))
