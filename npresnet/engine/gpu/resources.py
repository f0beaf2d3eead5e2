"""What the plans of one engine share: weights on the GPU, the algorithms measured to be the fastest, scratch memory."""

from collections.abc import Callable, Hashable
from math import prod
from typing import Any

import numpy as np

from ...backend import Array
from ..graph import Node


class Resources:
    """``xp`` is CuPy, ``dtype`` that of the images, ``tf32`` whether products may use it."""

    def __init__(self, xp: Any, dtype: np.dtype, tf32: bool):
        self.xp, self.dtype, self.tf32 = xp, dtype, tf32
        self._weights: dict[Node, Any] = {}
        self._choices: dict[Hashable, int] = {}
        self._scratch = xp.empty(0, xp.uint8)

    def weights(self, node: Node, make: Callable[[], Any]) -> Any:
        """The weights of a step as its launches read them, made by ``make()`` once."""
        if node not in self._weights:
            self._weights[node] = make()
        return self._weights[node]

    def choice(self, key: Hashable, make: Callable[[], int]) -> int:
        """The index of the algorithm that a step uses, found by ``make()`` once for each ``key``."""
        if key not in self._choices:
            self._choices[key] = make()
        return self._choices[key]

    def scratch(self, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        """An array that holds its numbers for one step only: the next one may be given the same memory."""
        nbytes = prod(shape) * np.dtype(dtype).itemsize
        if self._scratch.nbytes < nbytes:
            self._scratch = self.xp.empty(nbytes, self.xp.uint8)
        return self._scratch[:nbytes].view(dtype).reshape(shape)
