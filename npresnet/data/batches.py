"""From a dataset to batches: the order of an epoch, augmentation and arrays, prepared in threads ahead of their use."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, array_namespace
from .augment import color_jitter, crop_and_flip, erased, normalized, resized_crop, scaled_crop, uniforms
from .dataset import Dataset
from .prefetch import prefetch
from .preprocessing import Preprocessing
from .rand_augment import rand_augment
from .share import WHOLE, Share
from .trivial_augment import trivial_augment

# Which of an image's random numbers decide what: those of one change stay what they are where another is added.
CROP, JITTER, POLICY, ERASE, DRAWS = slice(0, 23), slice(23, 26), slice(26, 34), slice(34, 57), 57
AUGMENT = {  # (images, their random numbers (N, 23), the side that photos get) → images
    "none": lambda images, u, side: images,
    "crop-flip": lambda images, u, side: crop_and_flip(images, u[:, :3]),
    "photo": lambda images, u, side: each(resized_crop, images, u, side),
    "scale": lambda images, u, side: each(scaled_crop, images, u, side),
}
OF_PHOTOS = ("photo", "scale")  # those that want whole photos and give them their size
POLICIES = {
    "none": lambda images, u: images,
    "trivial": lambda images, u: each(trivial_augment, images, u[:, :3]),
    "rand": lambda images, u: each(rand_augment, images, u),
}


def each(change: Callable[..., Array], images: Any, u: Array, *options: Any) -> Array:
    """``change`` of each image with its own random numbers, in one array."""
    return np.stack([change(image, numbers, *options) for image, numbers in zip(images, u)])


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

    ``augment`` is one of :data:`AUGMENT`, ``jitter`` the strength of :func:`color_jitter`, ``policy`` one of
    :data:`POLICIES`, ``erase`` the share of images that lose a rectangle; they follow each other in this order.
    ``preprocessing`` makes the network's input.  ``workers`` threads prepare batches; their number changes only the
    speed.  Of each batch only the images of ``share`` are made: all ranks' together are the batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        batch_size: int,
        augment: str = "none",
        *,
        jitter: float = 0.0,
        policy: str = "none",
        erase: float = 0.0,
        seed: int = 0,
        workers: int = 2,
        share: Share = WHOLE,
    ):
        self.dataset, self.preprocessing, self.batch_size = dataset, preprocessing, batch_size
        self.augment, self.jitter, self.policy, self.erase = AUGMENT[augment], jitter, POLICIES[policy], erase
        self.seed, self.workers, self.share = seed, workers, share

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
        """This rank's shares of the batches of images in that order, from batch ``start`` on."""
        whole = [order[i : i + self.batch_size] for i in range(start * self.batch_size, len(order), self.batch_size)]
        if self.share.size == 1:
            return whole
        xp = array_namespace(order)
        return [xp.concatenate([chunk[part] for part in self.share.slices(len(chunk))]) for chunk in whole]

    def images_in(self, step: int) -> int:
        """How many images all ranks have together in a step of an epoch."""
        return min(self.batch_size, len(self.dataset) - step * self.batch_size)

    def augmented(self, epoch: int, part: Array) -> Batch:
        if not len(part):
            return self.nothing()
        u = uniforms(self.seed, epoch, self.dataset.numbers[part], DRAWS)
        pixels = self.augment(self.dataset.read(part), u[:, CROP], self.preprocessing.crop)
        if self.jitter:
            pixels = color_jitter(pixels, u[:, JITTER], self.jitter)
        x = normalized(self.policy(pixels, u[:, POLICY]), self.preprocessing)
        return Batch(erased(x, u[:, ERASE], self.erase) if self.erase else x, self.dataset.labels[part])

    def nothing(self) -> Batch:
        """A share of no images, of the size that the others have."""
        first = Batches.augmented(self, 0, np.zeros(1, np.int64))
        return Batch(first.x[:0], first.labels[:0])

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
