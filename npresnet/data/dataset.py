"""Labelled images: small ones in memory, photos on the disk until they are asked for."""

import zlib

import numpy as np

from . import preprocessing_of, read_image
from .folder import in_batches
from .prefetch import prefetch


class Dataset:
    """Labelled images.

    labels   (N,) int64, indices into ``classes``
    numbers  (N,) int64: which image of the whole dataset each one is, whatever subset this is
    pixels   all images, (…, H, W, 3) uint8, or grey ones, (…, H, W) or (…, H, W, 1)
    folder   or the ImageFolder that holds them, and
    checks   CRC-32 of the bytes of each image in it, which the numbers index
    notes    what a person would want to know of how folders were understood, a line each

    Raises ValueError where pixels are no images, or there is not one whole number as the label of each.
    """

    notes = ()

    def __init__(self, labels, classes, numbers=None, pixels=None, folder=None, checks=None):
        self.labels, self.classes, self.folder, self.checks = integers("labels", labels), tuple(classes), folder, checks
        self.pixels = None if pixels is None else with_colors(pixels)
        self.numbers = np.arange(len(labels)) if numbers is None else integers("numbers", numbers)
        images = len(self.numbers) if pixels is None or numbers is not None else len(self.pixels)
        if images != len(labels):
            raise ValueError(f"{len(labels)} labels for {images} images: each image needs one")

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        """The images as uint8 (H, W, 3): one array for those in memory, a list for photos."""
        if self.folder is None:
            return self.pixels[self.numbers[indices]]
        return [np.asarray(decoded(self.folder, number)) for number in self.numbers[indices]]

    def batches(self, model_or_preset, batch_size=128, *, limit=None, threads=2):
        """Yield (x, labels): arrays (n, 3, H, W) float32, prepared for a model, and (n,) int64, in order.

        ``limit`` takes so many images, evenly spaced.  While one batch is used, ``threads`` others are prepared.
        """
        recipe = preprocessing_of(model_or_preset)

        def load(part):
            return np.stack([self.prepared(recipe, number) for number in self.numbers[part]]), self.labels[part]

        return prefetch(load, in_batches(len(self), batch_size, limit), threads)

    def prepared(self, recipe, number):
        return recipe(self.pixels[number]) if self.folder is None else self.folder.load(recipe, number)

    def subset(self, indices):
        """The images at ``indices``; those in memory are shared, not copied."""
        return Dataset(self.labels[indices], self.classes, self.numbers[indices], self.pixels, self.folder, self.checks)

    def contents_fingerprint(self):
        """A number that changes with the bytes of the photos on the disk; None where that is not known or needed."""
        return None if self.checks is None else zlib.crc32(np.ascontiguousarray(self.checks[self.numbers]).data)

    def fingerprint(self):
        """A number that changes with the images (their names, for photos), the labels and the subset."""
        content = encoded(self.folder.names) if self.folder else self.pixels
        parts = (content, self.labels, self.numbers, encoded(self.classes))
        check = 0
        for part in parts:
            check = zlib.crc32(part if isinstance(part, bytes) else np.ascontiguousarray(part).data, check)
        return check


def encoded(names):
    """Names as bytes, one to a line; those of files may hold bytes that are not UTF-8."""
    return "\n".join(names).encode("utf-8", "surrogateescape")


def integers(what, values):
    """(N,) int64 of labels, or of numbers of images."""
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{what} are whole numbers, one for each image: not {values.dtype} {values.shape}")
    return values.astype(np.int64, copy=False)


def with_colors(pixels):
    """(N, H, W, 3), of grey images a view with three equal channels."""
    pixels = np.asarray(pixels)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise ValueError(f"images are uint8, (N, H, W, 3), or grey (N, H, W): not {pixels.dtype} {pixels.shape}")
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


def decoded(folder, number):
    with folder.open(number) as file:
        return read_image(file)


def split(source, held_out, seed):
    """(training images, validation images): ``held_out`` of them, or that share below 1, from every class alike."""
    count = round(held_out * len(source)) if held_out < 1 else int(held_out)
    if not 0 <= count < len(source):
        raise ValueError(f"{count} images held out for validation leave none of {len(source)} to train on; "
                         "hold out fewer (held_out, --held-out), or a share such as 0.1")
    order = np.random.default_rng([seed, 0]).permutation(len(source))
    order = order[np.argsort(source.labels[order], kind="stable")]      # class after class, shuffled within each
    chosen = np.zeros(len(source), bool)
    chosen[order[(np.arange(count) * 2 + 1) * len(source) // max(1, 2 * count)]] = True
    return source.subset(np.flatnonzero(~chosen)), source.subset(np.flatnonzero(chosen))
