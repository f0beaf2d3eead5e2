"""How much ranks say to each other, and how long they wait for it."""

import time
from collections.abc import Callable
from typing import NoReturn

from ..backend import Array
from .communicator import Communicator, Pending, Thing


class Measured(Communicator):
    """A communicator that counts.

    calls     of it
    sent      bytes that a rank sends where sums are made in a ring, 2 (n − 1)/n of an array [P], and gathered arrays
              go to every other rank
    waited    seconds in which this rank did nothing else; started sums take none until they are waited for

    [P] Patarasu & Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of workstations
    """

    def __init__(self, ranks: Communicator) -> None:
        self.ranks, self.rank, self.size = ranks, ranks.rank, ranks.size
        self.reset()

    def reset(self) -> None:
        """Count anew."""
        self.calls, self.sent, self.waited = 0, 0.0, 0.0

    def all_reduce(self, x: Array) -> Array:
        self._count(2 * (self.size - 1) / self.size * x.nbytes)
        return self.timed(lambda: self.ranks.all_reduce(x))

    def start_all_reduce(self, x: Array) -> Pending:
        self._count(2 * (self.size - 1) / self.size * x.nbytes)
        return TimedWait(self.timed(lambda: self.ranks.start_all_reduce(x)), self)

    def gather(self, x: Array) -> Array:
        self._count((self.size - 1) * x.nbytes)
        return self.timed(lambda: self.ranks.gather(x))

    def all_gather(self, thing: Thing) -> list[Thing]:
        self._count(0)
        return self.timed(lambda: self.ranks.all_gather(thing))

    def broadcast(self, make: Callable[[], Thing]) -> Thing:
        return self.ranks.broadcast(make)

    def signs_of_life(self) -> Callable[[], bool]:
        return self.ranks.signs_of_life()

    def abort(self, status: int = 1) -> NoReturn:
        self.ranks.abort(status)

    def timed(self, work: Callable[[], Thing]) -> Thing:
        """``work()``, whose time is waited."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.waited += time.perf_counter() - began

    def _count(self, sent: float) -> None:
        self.calls, self.sent = self.calls + 1, self.sent + sent


class TimedWait:
    """A sum under way, whose wait is measured."""

    def __init__(self, pending: Pending, measured: Measured) -> None:
        self.pending, self.measured = pending, measured

    def progress(self) -> bool:
        return self.pending.progress()

    def wait(self) -> None:
        self.measured.timed(self.pending.wait)
