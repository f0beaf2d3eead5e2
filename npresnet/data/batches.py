"""From a source to batches: the order of an epoch, the augmentation, the arrays, prepared while the last ones train."""

from typing import NamedTuple

import numpy as np

from .augment import color_jitter, crop_and_flip, normalized, resized_crop, uniforms
from .prefetch import ahead


class Batch(NamedTuple):
    """Pictures (n, 3, H, W) float32 and their labels (n,) int64."""

    x: np.ndarray
    labels: np.ndarray

    def parts(self, count):
        """The same in ``count`` nearly equal parts, views."""
        places = [part for part in np.array_split(np.arange(len(self.labels)), count) if len(part)]
        return [Batch(*(array[part[0]:part[-1] + 1] for array in self)) for part in places]


def on_device_of(model, batch):
    """The batch where the model lives, in its dtype."""
    xp = model.namespace
    return xp.asarray(batch.x, model.dtype), xp.asarray(batch.labels)


class Batches:
    """The batches of each epoch; which and in what order depends on ``seed`` and the epoch alone.

    ``augment`` is "crop-flip", "photo" or "none"; ``preprocessing`` the recipe of the network's input; ``workers``
    threads prepare batches ahead, and their number changes nothing but the speed.
    """

    def __init__(self, source, preprocessing, batch_size, augment="none", *, jitter=0.0, seed=0, workers=2):
        self.source, self.preprocessing, self.batch_size = source, preprocessing, batch_size
        self.augment, self.jitter, self.seed, self.workers = AUGMENT[augment], jitter, seed, workers

    def __len__(self):
        return -(-len(self.source) // self.batch_size)

    def epoch(self, epoch, start=0):
        """Batches ``start``, ``start`` + 1 … of a shuffled pass over all pictures; the last may be smaller."""
        return ahead(lambda part: self.augmented(epoch, part), self.chunks(self.order(epoch), start), self.workers)

    def order(self, epoch):
        return np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.source))

    def plain(self):
        """Batches in the source's own order, prepared as for a prediction."""
        return ahead(self.prepared, self.chunks(np.arange(len(self.source)), 0), self.workers)

    def chunks(self, order, start):
        return [order[i:i + self.batch_size] for i in range(start * self.batch_size, len(order), self.batch_size)]

    def augmented(self, epoch, part):
        u = uniforms(self.seed, epoch, self.source.numbers[part], DRAWS)
        pixels = self.augment(self.source.read(part), u, self.preprocessing)
        if self.jitter:
            pixels = color_jitter(pixels, u[:, -3:], self.jitter)
        return Batch(normalized(pixels, self.preprocessing), self.source.labels[part])

    def prepared(self, part):
        images, recipe = self.source.read(part), self.preprocessing
        x = normalized(images, recipe) if ready(self.source, recipe) else np.stack([recipe(image) for image in images])
        return Batch(x, self.source.labels[part])


def ready(source, recipe) -> bool:
    """Whether the pictures are in memory, and have the size that ``recipe`` would give them."""
    return source.pixels is not None and source.pixels.shape[1:3] == (recipe.crop, recipe.crop) and recipe.resize in (
        None, recipe.crop)


DRAWS = 26                                       # 23 place the crop of a photo, the last three are for the jitter
AUGMENT = {
    "none": lambda images, u, recipe: images,
    "crop-flip": lambda images, u, recipe: crop_and_flip(images, u[:, :3]),
    "photo": lambda images, u, recipe: np.stack(
        [resized_crop(image, numbers[:-3], recipe.crop) for image, numbers in zip(images, u)]),
}
