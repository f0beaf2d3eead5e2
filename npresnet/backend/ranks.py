"""Processes that compute together, as an op sees them."""

from typing import Protocol

from .arrays import Array


class Ranks(Protocol):
    """``size`` processes, of which this is number ``rank``; see :mod:`npresnet.distributed`.

    Every rank makes the same calls in the same order, and each call waits for all of them.
    """

    rank: int
    size: int

    def all_reduce(self, x: Array) -> Array:
        """Σ x over the ranks: a new array, the same bits on each."""
        ...

    def gather(self, x: Array) -> Array:
        """(size, …): the ranks' arrays x, of one shape and dtype, in the ranks' order."""
        ...
