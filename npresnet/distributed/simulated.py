"""Ranks that are threads of one process: for lessons and tests, where the same code runs as on many machines."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NoReturn, TypeVar

from ..backend import Array, array_namespace
from .communicator import Communicator, Done, Pending, Thing

Result = TypeVar("Result")


class Meeting:
    """Where ``size`` threads exchange things."""

    def __init__(self, size: int):
        self.barrier, self.table = threading.Barrier(size), [None] * size


class Simulated(Communicator):
    """A rank that is a thread; sums run in the ranks' order."""

    def __init__(self, meeting: Meeting, rank: int):
        self.meeting, self.rank, self.size = meeting, rank, len(meeting.table)

    def all_gather(self, thing: Thing) -> list[Thing]:
        table: list[Any] = self.meeting.table
        table[self.rank] = thing
        self.meeting.barrier.wait()
        found = list(table)
        self.meeting.barrier.wait()  # or a fast thread would write its next thing before a slow one has read
        return found

    def all_reduce(self, x: Array) -> Array:
        first, *others = self.all_gather(x)
        total = first.copy()
        for other in others:
            total += other
        self.barrier()  # an owner may write to its x again
        return total

    def start_all_reduce(self, x: Array) -> Pending:
        x[...] = self.all_reduce(x)
        return Done()

    def gather(self, x: Array) -> Array:
        rows = array_namespace(x).stack(self.all_gather(x))
        self.barrier()
        return rows

    def broadcast(self, make: Callable[[], Thing]) -> Thing:
        made: Any = None if self.rank else make()
        return self.all_gather(made)[0]

    def abort(self, status: int = 1) -> NoReturn:
        self.meeting.barrier.abort()
        raise SystemExit(status)


def simulate(size: int, function: Callable[[Communicator], Result]) -> list[Result]:
    """``[function(rank 0), …, function(rank size − 1)]``, computed by ``size`` threads that may speak to each other.

    An error in one of them ends all and is raised here.

    >>> import numpy as np
    >>> simulate(3, lambda ranks: float(ranks.all_reduce(np.array(1.0 + ranks.rank))))
    [6.0, 6.0, 6.0]
    """
    meeting = Meeting(size)

    def run(rank: int) -> Result:
        try:
            return function(Simulated(meeting, rank))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        threads = [pool.submit(copy_context().run, run, rank) for rank in range(size)]
    errors = [error for thread in threads if (error := thread.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [thread.result() for thread in threads]
