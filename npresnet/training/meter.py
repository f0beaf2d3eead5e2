"""How fast a run trains."""

import time

from ..backend import compiler


class Meter:
    """Images per second of an epoch, without what happens once: steps in which a kernel is compiled, and the first.

    (The first step of a run on a GPU compiles, measures and records.)
    """

    def __init__(self) -> None:
        self.first = True
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Count anew."""
        self.images, self.seconds, self.all_images = 0, 0.0, 0
        self.began = self.then = time.perf_counter()
        self.compiled = compiler.seconds

    def step(self, images: int) -> None:
        """A step with so many images is done; 0 is for a wait."""
        now, compiled = time.perf_counter(), compiler.seconds
        if compiled == self.compiled and not self.first:
            self.images, self.seconds = self.images + images, self.seconds + now - self.then
        self.all_images += images
        self.then, self.compiled, self.first = now, compiled, False

    @property
    def images_per_second(self) -> float:
        """Of the steps that count; of all of them where none does."""
        if self.images:
            return self.images / max(self.seconds, 1e-9)
        return self.all_images / max(self.then - self.began, 1e-9)
