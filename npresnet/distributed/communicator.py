"""What processes that train together say to each other.

``size`` processes, the *ranks* 0 … size − 1, run the same program on their own share of the data.  Every rank makes the
same calls in the same order; each call waits until all ranks have made it.
"""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, TypeVar

from ..backend import Array, array_namespace

Thing = TypeVar("Thing")


class Pending(Protocol):
    """A sum over the ranks that is under way."""

    def progress(self) -> bool:
        """Whether it has ended, without waiting for it."""
        ...

    def wait(self) -> None:
        """Return when the array holds the sum."""
        ...


class Communicator:
    """One rank of ``size``.  This one is alone; :class:`.mpi.MPI`, :class:`.nccl.NCCL` and
    :class:`.simulated.Simulated` are not."""

    rank: int = 0
    size: int = 1

    def all_reduce(self, x: Array) -> Array:
        """Σ x over the ranks: a new array, the same bits on each rank; x (…) as on every rank."""
        return x.copy()

    def start_all_reduce(self, x: Array) -> Pending:
        """Begin to replace a contiguous x by Σ x over the ranks; nobody may use it before ``wait()``."""
        return Done()

    def gather(self, x: Array) -> Array:
        """(size, …): the ranks' arrays x, of one shape and dtype, in the ranks' order."""
        return array_namespace(x).stack([x])

    def all_gather(self, thing: Thing) -> list[Thing]:
        """Every rank's object, in the ranks' order."""
        return [thing]

    def broadcast(self, make: Callable[[], Thing]) -> Thing:
        """What ``make()`` returns on rank 0, which alone calls it."""
        return make()

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        self.all_gather(None)

    def signs_of_life(self) -> Callable[[], bool]:
        """A function that gives the next rank a sign of life, and says whether one has come from the rank before."""
        return lambda: True

    def abort(self, status: int = 1) -> NoReturn:
        """End the processes of all ranks, now, with this exit status."""
        sys.stderr.flush()
        os._exit(status)

    def __deepcopy__(self, memo: Any) -> "Communicator":
        """Itself: the copy of a network speaks to the same ranks."""
        return self

    def __reduce__(self) -> Any:
        """In a file, or in another process, it is alone."""
        return Communicator, ()


class Done:
    """A sum that has ended."""

    def progress(self) -> bool:
        return True

    def wait(self) -> None:
        pass


Alone = Communicator
