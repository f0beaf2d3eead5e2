"""Ranks that are processes of an MPI program, through mpi4py; arrays lie in the host's memory.

[MPI] Message Passing Interface Forum, MPI: A message-passing interface standard, version 4.1
"""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..backend import Array, array_namespace
from .communicator import Communicator, Pending, Thing


class MPI(Communicator):
    """A rank of ``communicator``, by default of all processes that were launched together.

    Sums are in the order that MPI's library chooses, and the same bits on every rank ([MPI] 6.9.1 asks for it).
    """

    def __init__(self, communicator: Any = None) -> None:
        from mpi4py import MPI as library

        self.library: Any = library
        self.ranks: Any = library.COMM_WORLD if communicator is None else communicator
        self.rank, self.size = self.ranks.Get_rank(), self.ranks.Get_size()

    def all_reduce(self, x: Array) -> Array:
        x = on_host(x)
        total = np.empty_like(x)
        self.ranks.Allreduce(x, total)
        return total

    def start_all_reduce(self, x: Array) -> Pending:
        if not on_host(x).flags.c_contiguous:
            raise ValueError("a sum that takes the place of an array needs a contiguous one")
        return Request(self.ranks.Iallreduce(self.library.IN_PLACE, x), x)

    def gather(self, x: Array) -> Array:
        x = on_host(x)
        rows = np.empty((self.size, *x.shape), x.dtype)
        self.ranks.Allgather(x, rows)
        return rows

    def all_gather(self, thing: Thing) -> list[Thing]:
        return self.ranks.allgather(thing)

    def broadcast(self, make: Callable[[], Thing]) -> Thing:
        return self.ranks.bcast(None if self.rank else make())

    def signs_of_life(self) -> Callable[[], bool]:
        ranks, sent = self.ranks.Dup(), []
        after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size

        def beat() -> bool:
            sent[:] = [request for request in sent if not request.Test()]
            sent.append(ranks.Isend(b"", after))
            came = False
            while ranks.Iprobe(before):
                ranks.Recv(bytearray(0), before)
                came = True
            return came

        return beat

    def abort(self, status: int = 1) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        self.ranks.Abort(status)
        raise SystemExit(status)  # not reached


class Request:
    """MPI's request, and the array that it writes."""

    def __init__(self, request: Any, x: Array) -> None:
        self.request, self.x = request, x

    def progress(self) -> None:
        self.request.Test()

    def wait(self) -> None:
        self.request.Wait()


def on_host(x: Array) -> Array:
    """x, contiguous.  Raises TypeError for an array on a GPU, which is for NCCL."""
    if array_namespace(x) is not np:
        raise TypeError("MPI takes arrays in the host's memory: use NCCL for those on a GPU")
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)
