"""Where pictures and labels come from: small ones decoded once into memory, photos from the disk when asked for."""

import errno
import os
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ..data import ImageError, ImageFolder, match_classes, read_image
from ..data.preprocessing import center_crop
from .archives import is_cifar, read_cifar


class Source:
    """Labelled pictures.

    labels   (N,) int64, indices into ``classes``
    numbers  (N,) int64: which picture of the whole data set each one is, whatever subset this is
    """

    def __init__(self, labels, classes, numbers=None, pixels=None, folder=None):
        self.labels, self.classes, self.pixels, self.folder = labels, tuple(classes), pixels, folder
        self.numbers = np.arange(len(labels)) if numbers is None else numbers

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        """The pictures as uint8 (H, W, 3): one array for those in memory, a list for photos."""
        if self.folder is None:
            return self.pixels[self.numbers[indices]]
        return [np.asarray(decoded(self.folder, number)) for number in self.numbers[indices]]

    def subset(self, indices):
        """The pictures at ``indices``; those in memory are shared, not copied."""
        return Source(self.labels[indices], self.classes, self.numbers[indices], self.pixels, self.folder)

    def fingerprint(self):
        """A number that changes with the pictures (their names, for photos), the labels and the subset."""
        content = "\n".join(self.folder.names).encode() if self.folder else self.pixels
        parts = (content, self.labels, self.numbers, "\n".join(self.classes).encode())
        check = 0
        for part in parts:
            check = zlib.crc32(part if isinstance(part, bytes) else np.ascontiguousarray(part).data, check)
        return check


def open_source(path, recipe, *, part="train", in_memory=True, classes=None, strict=False, workers=2, show=None):
    """(the pictures under ``path``, one line for each that could not be read).

    path       a CIFAR archive; a folder of class folders or a zip of one; or a folder that holds such as its part
               (train/ or cifar10-train-jpeg.zip)
    recipe     the Preprocessing whose resize and crop pictures in memory get
    classes    class names that the folders must have, in this order
    strict     a broken picture is an error instead of a line
    show       called with (done, total) while pictures are read
    """
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", path)
    if is_cifar(path):
        pixels, labels, names = read_cifar(path, part)
        return checked(Source(labels, names, pixels=pixels), path, classes), []
    path = find_part(path, part)
    folder = ImageFolder(path)
    look = partial(cropped, recipe) if in_memory else lambda image: None
    good, pixels, broken = read_all(folder, look, strict, workers, show or (lambda done, total: None))
    labels = folder.folders[good]
    if in_memory:
        return checked(Source(labels, folder.classes, pixels=np.stack(pixels)), path, classes), broken
    return checked(Source(labels, folder.classes, numbers=good, folder=folder), path, classes), broken


def checked(source, path, classes):
    """The source with labels for ``classes``; training on a single class is refused."""
    if classes is not None:
        index, _ = match_classes(source.classes, classes, len(classes))
        return Source(index[source.labels], classes, source.numbers, source.pixels, source.folder)
    if len(set(source.labels.tolist())) < 2:
        raise ImageError(f"{path}: all pictures are of one class ({source.classes[source.labels[0]]}); "
                         "training needs at least two class folders, such as cat/ and dog/")
    return source


def find_part(path, part):
    """What lies in that folder under the name of the part, train/ or a single *train*.zip; else ``path`` itself."""
    inside = os.path.join(path, part)
    zips = sorted(Path(path).glob(f"*{part}*.zip"))
    if os.path.isdir(inside):
        return inside
    return str(zips[0]) if len(zips) == 1 else path


def has_part(path, part) -> bool:
    """Does ``path`` hold that part besides others?"""
    return is_cifar(path) or find_part(path, part) != path


def read_all(folder, look, strict, workers, show):
    """(indices of the good pictures, look(picture) of each, a line for each broken one).

    Every picture is decoded here, so that none breaks a run that has been going for hours.
    """
    def attempt(number):
        try:
            return look(decoded(folder, number)), None
        except ImageError as error:
            if strict:
                raise
            return None, str(error)

    good, looked, broken = [], [], []
    for number, (found, error) in enumerate(ahead(attempt, range(len(folder)), workers, depth=64 * workers)):
        if error is None:
            good.append(number)
            looked.append(found)
        else:
            broken.append(error)
        show(number + 1, len(folder))
    if not good:
        raise ImageError(f"{folder.path}: none of its {len(folder)} pictures can be read; the first: {broken[0]}")
    return np.array(good), looked, broken


def decoded(folder, number):
    with folder.open(number) as file:
        return read_image(file)


def cropped(recipe, image):
    return np.asarray(center_crop(recipe.resized(image), recipe.crop))


def split(source, held_out, seed):
    """(training pictures, validation pictures): ``held_out`` of them, or that share below 1, from every class alike."""
    count = round(held_out * len(source)) if held_out < 1 else int(held_out)
    if not 0 <= count < len(source):
        raise ValueError(f"{count} pictures held out for validation leave none of {len(source)} to train on; "
                         "hold out fewer (held_out, --held-out), or a share such as 0.1")
    order = np.random.default_rng([seed, 0]).permutation(len(source))
    order = order[np.argsort(source.labels[order], kind="stable")]      # class after class, shuffled within each
    chosen = np.zeros(len(source), bool)
    chosen[order[(np.arange(count) * 2 + 1) * len(source) // max(1, 2 * count)]] = True
    return source.subset(np.flatnonzero(~chosen)), source.subset(np.flatnonzero(chosen))


def ahead(function, items, workers, depth=None):
    """Yield function(item) in order, ``workers`` threads working up to ``depth`` items ahead."""
    waiting, depth = deque(), depth or workers + 1
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
