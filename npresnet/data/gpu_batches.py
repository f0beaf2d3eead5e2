"""Small pictures that live on the GPU, which makes batches of them without the host."""

import numpy as np

from ..backend import Captured
from . import recipe_of
from .augment import normalized, uniforms
from .batches import DRAWS, Batch, Batches, ready

LARGEST = 2**31          # bytes of pictures that are worth a place on the GPU


def batches_for(model, source, batch_size, augment="none", *, jitter=0.0, seed=0, workers=2):
    """Batches of ``source`` for ``model``: made on its GPU where the pictures fit there, else by this machine."""
    xp, recipe = model.namespace, recipe_of(model)
    fits = xp is not np and ready(source, recipe) and source.pixels[0].nbytes * len(source) <= LARGEST
    if fits and augment != "photo" and not jitter:                      # Pillow resizes photos, BLAS mixes to grey
        return Resident(xp, source, recipe, batch_size, augment, seed=seed)
    return Batches(source, recipe, batch_size, augment, jitter=jitter, seed=seed, workers=workers)


class Resident(Batches):
    """The batches of :class:`Batches`, bit for bit, of pictures that stay on the GPU as bytes.

    The host sends the order of an epoch and launches one graph for each batch, whose arrays the next one overwrites.
    """

    def __init__(self, xp, source, preprocessing, batch_size, augment="none", *, seed=0):
        super().__init__(source, preprocessing, batch_size, augment, seed=seed)
        self.xp = xp
        self.pixels, self.labels, self.numbers = map(xp.asarray, (source.read(slice(None)), source.labels,
                                                                  source.numbers))
        every = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 1, 1, 3)
        self.table = xp.asarray(normalized(every, preprocessing)[:, :, 0, 0])           # (256, 3): of every byte
        self.make = Captured(xp, self.made)

    def epoch(self, epoch, start=0):
        order = self.xp.asarray(self.order(epoch))
        u = uniforms(self.seed, epoch, self.numbers[order], DRAWS)
        for rows, numbers in zip(self.chunks(order, start), self.chunks(u, start)):
            yield Batch(*self.make(rows, numbers))

    def plain(self):
        for rows in self.chunks(self.xp.arange(len(self.labels)), 0):
            yield Batch(self.normalized(self.pixels[rows]), self.labels[rows])

    def made(self, rows, u):
        """(x, labels) of the pictures in these rows, changed by the random numbers ``u``."""
        return self.normalized(self.augment(self.pixels[rows], u, self.preprocessing)), self.labels[rows]

    def normalized(self, pixels):
        """:func:`normalized`, looked up: a byte can become only one of 256 numbers."""
        pixels = pixels[..., ::-1] if self.preprocessing.channels == "BGR" else pixels
        return self.table[pixels, self.xp.arange(3)].transpose(0, 3, 1, 2)
