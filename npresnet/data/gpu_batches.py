"""Batches made on the GPU, of small images that stay in its memory."""

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from ..backend import Array, Captured
from .augment import normalized, uniforms
from .batches import CROP, OF_PHOTOS, Batch, Batches, has_size
from .dataset import Dataset
from .preprocessing import Preprocessing, preprocessing_of
from .share import WHOLE, Share

LARGEST = 2**31  # bytes of images: a larger dataset stays in the host's memory


def batches_for(
    model: Any,
    dataset: Dataset,
    batch_size: int,
    augment: str = "none",
    *,
    jitter: float = 0.0,
    policy: str = "none",
    erase: float = 0.0,
    side: int = 0,
    seed: int = 0,
    workers: int = 2,
    share: Share = WHOLE,
) -> Batches:
    """Batches of ``dataset`` for ``model``: made on its GPU if the images fit there, else by the host's threads.

    ``side`` is that of photos, where it is not the one of the model's preprocessing; ``share`` the rank's of a batch.
    """
    xp, preprocessing = model.namespace, preprocessing_of(model)
    preprocessing = replace(preprocessing, crop=side or preprocessing.crop)
    fits = xp is not np and has_size(dataset, preprocessing) and dataset.pixels[0].nbytes * len(dataset) <= LARGEST
    on_host = augment in OF_PHOTOS or jitter or policy != "none" or erase  # with Pillow, the host's BLAS, loops
    if fits and not on_host:
        return GpuBatches(xp, dataset, preprocessing, batch_size, augment, seed=seed, share=share)
    return Batches(
        dataset,
        preprocessing,
        batch_size,
        augment,
        jitter=jitter,
        policy=policy,
        erase=erase,
        seed=seed,
        workers=workers,
        share=share,
    )


class GpuBatches(Batches):
    """The batches of :class:`Batches`, bit for bit, of images that stay on the GPU as bytes.

    The host sends the order of an epoch and launches one graph for each batch, whose arrays the next one overwrites.
    """

    def __init__(
        self,
        xp: ModuleType,
        dataset: Dataset,
        preprocessing: Preprocessing,
        batch_size: int,
        augment: str = "none",
        *,
        seed: int = 0,
        share: Share = WHOLE,
    ):
        super().__init__(dataset, preprocessing, batch_size, augment, seed=seed, share=share)
        self.xp = xp
        self.pixels, self.labels, self.numbers = map(
            xp.asarray, (dataset.read(slice(None)), dataset.labels, dataset.numbers)
        )
        every = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 1, 1, 3)
        self.table = xp.asarray(normalized(every, preprocessing)[:, :, 0, 0])  # (256, 3): of every byte
        self.make = Captured(xp, self.made)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = self.xp.asarray(self.order(epoch))
        u = uniforms(self.seed, epoch, self.numbers[order], CROP.stop)
        for rows, numbers in zip(self.chunks(order, start), self.chunks(u, start)):
            yield Batch(*self.make(rows, numbers))

    def in_order(self) -> Iterator[Batch]:
        for rows in self.chunks(self.xp.arange(len(self.labels)), 0):
            yield Batch(self.normalized(self.pixels[rows]), self.labels[rows])

    def made(self, rows: Array, u: Array) -> tuple[Array, Array]:
        """(x, labels) of the images in these rows, augmented with the random numbers ``u``."""
        return self.normalized(self.augment(self.pixels[rows], u, self.preprocessing.crop)), self.labels[rows]

    def normalized(self, pixels: Array) -> Array:
        """:func:`normalized` as a table: a byte can become only one of 256 numbers."""
        pixels = pixels[..., ::-1] if self.preprocessing.channels == "BGR" else pixels
        return self.table[pixels, self.xp.arange(3)].transpose(0, 3, 1, 2)
