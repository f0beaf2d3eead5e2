"""Ranks that are processes of an MPI program, through mpi4py; arrays lie in the host's memory.

[MPI] Message Passing Interface Forum 2023, MPI: A message-passing interface standard, version 4.1
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn

import numpy as np

from ..backend import Array, array_namespace
from .communicator import Communicator, Pending, Thing

YIELD = getattr(os, "sched_yield", partial(time.sleep, 0))
NAP = 1e-3  # seconds between two looks at sums that are under way


class MPI(Communicator):
    """A rank of ``communicator``, one of mpi4py's, by default of all processes that were launched together.

    Sums are in the order that MPI's library chooses; the same bits on every rank, as [MPI] §6.9.1 asks of it.
    """

    def __init__(self, communicator: Any = None) -> None:
        from mpi4py import MPI as library

        self.library: Any = library
        self.ranks: Any = library.COMM_WORLD if communicator is None else communicator
        self.rank, self.size = self.ranks.Get_rank(), self.ranks.Get_size()
        self.threads = library.Query_thread() == library.THREAD_MULTIPLE  # whether any thread may call the library
        self.under_way: SimpleQueue[Request] = SimpleQueue()
        if self.threads:
            threading.Thread(target=keep_going, args=[self.under_way], name="npresnet sums", daemon=True).start()

    def all_reduce(self, x: Array) -> Array:
        x = on_host(x)
        total = np.empty_like(x)
        Request(self.ranks.Iallreduce(x, total)).wait()
        return total

    def start_all_reduce(self, x: Array) -> Pending:
        if on_host(x) is not x:
            raise ValueError("a sum that takes the place of an array needs a contiguous one")
        request = Request(self.ranks.Iallreduce(self.library.IN_PLACE, x), x)
        self.under_way.put(request)
        return request

    def gather(self, x: Array) -> Array:
        x = on_host(x)
        rows = np.empty((self.size, *x.shape), x.dtype)
        Request(self.ranks.Iallgather(x, rows)).wait()
        return rows

    def all_gather(self, thing: Thing) -> list[Thing]:
        return self.ranks.allgather(thing)

    def broadcast(self, make: Callable[[], Thing]) -> Thing:
        return self.ranks.bcast(None if self.rank else make())

    def signs_of_life(self) -> Callable[[], bool]:
        ranks, sent = self.ranks.Dup(), []
        after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size

        def beat() -> bool:
            if not self.threads:
                return True
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
    """MPI's request, and the array that it writes, if that must be kept."""

    def __init__(self, request: Any, x: Array | None = None) -> None:
        self.request, self.x = request, x
        self.done, self.lock = False, threading.Lock()

    def progress(self) -> bool:
        """Whether it has ended; MPI's library moves data inside its calls alone, so ask now and then."""
        with self.lock:
            self.done = self.done or self.request.Test()
        return self.done

    def wait(self) -> None:
        """Return when it has ended; whoever else needs this core has it meanwhile, perhaps the rank waited for."""
        while not self.progress():
            YIELD()


def keep_going(under_way: "SimpleQueue[Request]") -> None:
    """In a thread of its own, let sums go on while kernels run in the others."""
    while True:
        request = under_way.get()
        while not request.progress():
            time.sleep(NAP)
        del request  # which keeps an array


def on_host(x: Array) -> Array:
    """x, contiguous.  Raises TypeError for an array on a GPU, which is for NCCL."""
    if array_namespace(x) is not np:
        raise TypeError("MPI takes arrays in the host's memory: use NCCL for those on a GPU")
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)
