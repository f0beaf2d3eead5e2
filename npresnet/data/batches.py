"""From a dataset to batches: the order of an epoch, augmentation and arrays, prepared in threads ahead of their use."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from .augment import color_jitter, crop_and_flip, normalized, resized_crop, uniforms
from .dataset import Dataset
from .prefetch import prefetch
from .preprocessing import Preprocessing

DRAWS = 26  # random numbers an image: 23 place a photo's crop, 3 are the jitter's
AUGMENT = {
    "none": lambda images, u, preprocessing: images,
    "crop-flip": lambda images, u, preprocessing: crop_and_flip(images, u[:, :3]),
    "photo": lambda images, u, preprocessing: np.stack(
        [resized_crop(image, numbers[:-3], preprocessing.crop) for image, numbers in zip(images, u)]
    ),
}


class Batch(NamedTuple):
    """Images (n, 3, H, W) float32 and their labels (n,) int64."""

    x: Array
    labels: Array

    def parts(self, count: int) -> list["Batch"]:
        """The batch in ``count`` nearly equal parts, as views; fewer where it has fewer images."""
        places = [part for part in np.array_split(np.arange(len(self.labels)), count) if len(part)]
        return [Batch(*(array[part[0] : part[-1] + 1] for array in self)) for part in places]


def on_device_of(model: Any, batch: Batch) -> tuple[Array, Array]:
    """The batch's arrays on the model's device, the images in the model's dtype."""
    xp = model.namespace
    return xp.asarray(batch.x, model.dtype), xp.asarray(batch.labels)


class Batches:
    """The batches of each epoch: their images and order depend on ``seed`` and the epoch alone.

    ``augment`` is "crop-flip", "photo" or "none", ``jitter`` the strength of :func:`color_jitter`; ``preprocessing``
    makes the network's input.  ``workers`` threads prepare batches; their number changes only the speed.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        batch_size: int,
        augment: str = "none",
        *,
        jitter: float = 0.0,
        seed: int = 0,
        workers: int = 2,
    ):
        self.dataset, self.preprocessing, self.batch_size = dataset, preprocessing, batch_size
        self.augment, self.jitter, self.seed, self.workers = AUGMENT[augment], jitter, seed, workers

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start`` + 1 … of a shuffled pass over all images; the last may be smaller."""
        return prefetch(lambda part: self.augmented(epoch, part), self.chunks(self.order(epoch), start), self.workers)

    def order(self, epoch: int) -> Array:
        return np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.dataset))

    def in_order(self) -> Iterator[Batch]:
        """Batches in the dataset's order without augmentation, as for a prediction."""
        return prefetch(self.prepared, self.chunks(np.arange(len(self.dataset)), 0), self.workers)

    def chunks(self, order: Array, start: int) -> list[Array]:
        return [order[i : i + self.batch_size] for i in range(start * self.batch_size, len(order), self.batch_size)]

    def augmented(self, epoch: int, part: Array) -> Batch:
        u = uniforms(self.seed, epoch, self.dataset.numbers[part], DRAWS)
        pixels = self.augment(self.dataset.read(part), u, self.preprocessing)
        if self.jitter:
            pixels = color_jitter(pixels, u[:, -3:], self.jitter)
        return Batch(normalized(pixels, self.preprocessing), self.dataset.labels[part])

    def prepared(self, part: Array) -> Batch:
        images, preprocessing = self.dataset.read(part), self.preprocessing
        if isinstance(images, np.ndarray) and has_size(self.dataset, preprocessing):
            return Batch(normalized(images, preprocessing), self.dataset.labels[part])
        return Batch(np.stack([preprocessing(image) for image in images]), self.dataset.labels[part])


def has_size(dataset: Dataset, preprocessing: Preprocessing) -> bool:
    """Whether the images are in memory, in the size that ``preprocessing`` would give them."""
    side = preprocessing.crop
    return (
        dataset.pixels is not None
        and dataset.pixels.shape[1:3] == (side, side)
        and preprocessing.resize in (None, side)
    )
