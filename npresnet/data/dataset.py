"""Labelled images: small ones in memory, photos on the disk until they are read."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from .folder import ImageFolder, in_batches
from .prefetch import prefetch
from .preprocessing import Preprocessing, preprocessing_of


class Dataset:
    """Labelled images, in memory (``pixels``) or on the disk (``folder``).

    labels   (N,) int64, indices into ``classes``
    numbers  (N,) int64: the index of each image in the whole dataset, of which this may be a subset
    pixels   the whole dataset's images, (…, H, W, 3) uint8, or grey ones, (…, H, W) or (…, H, W, 1); or None
    folder   or the ImageFolder that holds them, and
    checks   CRC-32 of the bytes of each image in it, indexed by the numbers
    notes    lines for a person: how the folders were understood

    Raises ValueError unless pixels are images and each image has one whole number as its label.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        labels: Any,
        classes: Sequence[str],
        numbers: Any = None,
        pixels: Any = None,
        folder: ImageFolder | None = None,
        checks: Array | None = None,
    ):
        self.labels, self.classes, self.folder, self.checks = integers("labels", labels), tuple(classes), folder, checks
        self.pixels: Any = None if pixels is None else with_colors(pixels)
        self.numbers = np.arange(len(labels)) if numbers is None else integers("numbers", numbers)
        images = len(self.numbers) if pixels is None or numbers is not None else len(self.pixels)
        if images != len(labels):
            raise ValueError(f"{len(labels)} labels for {images} images: each image needs one")

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Any) -> Array | list[Array]:
        """The images as uint8 (H, W, 3): one array for those in memory, a list for photos."""
        if self.folder is None:
            return self.pixels[self.numbers[indices]]
        return [np.asarray(self.folder.read(number)) for number in self.numbers[indices]]

    def batches(
        self, model_or_preset: object, batch_size: int = 128, *, limit: int | None = None, threads: int = 2
    ) -> Iterator[tuple[Array, Array]]:
        """Yield (x, labels): arrays (n, 3, H, W) float32, prepared for a model, and (n,) int64, in order.

        With a ``limit``, only that many images, evenly spaced.  While one batch is used, ``threads`` others are
        prepared.
        """
        preprocessing = preprocessing_of(model_or_preset)

        def load(part: Array) -> tuple[Array, Array]:
            return np.stack([self.prepared(preprocessing, number) for number in self.numbers[part]]), self.labels[part]

        return prefetch(load, in_batches(len(self), batch_size, limit), threads)

    def prepared(self, preprocessing: Preprocessing, number: int) -> Array:
        """Image ``number`` of the whole dataset as a network's input (3, H, W)."""
        return preprocessing(self.pixels[number]) if self.folder is None else self.folder.load(preprocessing, number)

    def subset(self, indices: Any) -> "Dataset":
        """The images at ``indices``; those in memory are shared, not copied."""
        return Dataset(self.labels[indices], self.classes, self.numbers[indices], self.pixels, self.folder, self.checks)

    def contents_fingerprint(self) -> int | None:
        """A number that changes with the bytes of photos on the disk; None where no checksums were taken."""
        return None if self.checks is None else zlib.crc32(np.ascontiguousarray(self.checks[self.numbers]).data)

    def fingerprint(self) -> int:
        """A number that changes with the images (for photos, their names), the labels, the classes and the subset."""
        content = encoded(self.folder.names) if self.folder else self.pixels
        parts = (content, self.labels, self.numbers, encoded(self.classes))
        check = 0
        for part in parts:
            check = zlib.crc32(part if isinstance(part, bytes) else np.ascontiguousarray(part).data, check)
        return check


def encoded(names: Sequence[str]) -> bytes:
    """Names as bytes, one to a line; names of files may hold bytes that are not UTF-8."""
    return "\n".join(names).encode("utf-8", "surrogateescape")


def integers(what: str, values: Any) -> Array:
    """``values`` as (N,) int64.  Raises ValueError unless they are integers on one axis."""
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"{what} are whole numbers, one for each image: not {values.dtype} {values.shape}")
    return values.astype(np.int64, copy=False)


def with_colors(pixels: Any) -> Array:
    """(N, H, W, 3); grey images as a view with three equal channels."""
    pixels = np.asarray(pixels)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise ValueError(f"images are uint8, (N, H, W, 3), or grey (N, H, W): not {pixels.dtype} {pixels.shape}")
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


def spread(labels: Array, limit: int | None) -> Array:
    """The indices of ``limit`` images, as many of each class as of any other as far as there are, evenly spaced in it.

    None stands for all images.  Raises ValueError for fewer images than classes.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    counts = np.bincount(labels)
    if limit < (classes := int((counts > 0).sum())):
        raise ValueError(f"{limit} images are fewer than the {classes} classes; each needs one: give a larger limit")
    order = np.argsort(labels, kind="stable")  # class after class
    starts = np.cumsum(counts) - counts
    ranks = np.arange(len(labels)) - np.repeat(starts, counts)
    wanted = np.bincount(labels[order[np.argsort(ranks, kind="stable")[:limit]]], minlength=len(counts))
    places = [start + np.arange(k) * n // max(1, k) for start, k, n in zip(starts, wanted, counts)]
    return np.sort(order[np.concatenate(places)])


def split(dataset: Dataset, held_out: float, seed: int) -> tuple[Dataset, Dataset]:
    """(training images, validation images): ``held_out`` of them, or below 1 that share, drawn from all classes alike.

    Raises ValueError where no image would be left to train on.
    """
    count = round(held_out * len(dataset)) if held_out < 1 else int(held_out)
    if not 0 <= count < len(dataset):
        raise ValueError(
            f"{count} images held out for validation leave none of {len(dataset)} to train on; "
            "hold out fewer (held_out, --held-out), or a share such as 0.1"
        )
    order = np.random.default_rng([seed, 0]).permutation(len(dataset))
    order = order[np.argsort(dataset.labels[order], kind="stable")]  # class after class, shuffled within each
    chosen = np.zeros(len(dataset), bool)
    chosen[order[(np.arange(count) * 2 + 1) * len(dataset) // max(1, 2 * count)]] = True
    return dataset.subset(np.flatnonzero(~chosen)), dataset.subset(np.flatnonzero(chosen))
