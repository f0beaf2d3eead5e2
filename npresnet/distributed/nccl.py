"""Ranks with a GPU each, through NCCL as CuPy has it; objects, and arrays of the host, go the host's way.

Arrays of a GPU never go through MPI.  NCCL's calls only enqueue work on a stream: the host does not wait.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from ..backend import Array, array_namespace, gpu
from .communicator import Communicator, Pending, Thing


class NCCL(Communicator):
    """The ranks of ``host``, each on the GPU that is current in its process.

    Sums of gradients run on a stream of their own, beside the kernels of the pullback; every other call is in order
    with the kernels around it.  NCCL's id, made by rank 0, comes to the others through ``host``.
    """

    def __init__(self, host: Communicator) -> None:
        self.host, self.rank, self.size = host, host.rank, host.size
        self.cupy: Any = gpu()
        self.nccl: Any = import_module("cupy.cuda.nccl")
        self.ranks: Any = self.nccl.NcclCommunicator(self.size, host.broadcast(self.nccl.get_unique_id), self.rank)
        self.stream = self.cupy.cuda.Stream(non_blocking=True)

    def all_reduce(self, x: Array) -> Array:
        if not self.on_gpu(x):
            return self.host.all_reduce(x)
        x = self.cupy.ascontiguousarray(x)
        total = self.cupy.empty_like(x)
        self._sum(x, total, self.cupy.cuda.get_current_stream())
        return total

    def start_all_reduce(self, x: Array) -> Pending:
        if not self.on_gpu(x):
            return self.host.start_all_reduce(x)
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())  # until x is there
        self._sum(x, x, self.stream)
        return Enqueued(self.cupy, self.stream.record(), x)

    def gather(self, x: Array) -> Array:
        if not self.on_gpu(x):
            return self.host.gather(x)
        sent: Any = self.cupy.ascontiguousarray(x)
        rows = self.cupy.empty((self.size, *x.shape), x.dtype)
        stream = self.cupy.cuda.get_current_stream()
        self.ranks.allGather(sent.data.ptr, rows.data.ptr, x.size, self.kind(x), stream.ptr)
        return rows

    def all_gather(self, thing: Thing) -> list[Thing]:
        return self.host.all_gather(thing)

    def broadcast(self, make: Callable[[], Thing]) -> Thing:
        return self.host.broadcast(make)

    def signs_of_life(self) -> Callable[[], bool]:
        return self.host.signs_of_life()

    def abort(self, status: int = 1) -> NoReturn:
        self.host.abort(status)

    def on_gpu(self, x: Array) -> bool:
        """Whether x lies in a GPU's memory."""
        return array_namespace(x) is self.cupy

    def kind(self, x: Array) -> int:
        """NCCL's number for the dtype of x."""
        return getattr(self.nccl, f"NCCL_{x.dtype.name.upper()}")

    def _sum(self, x: Any, total: Any, stream: Any) -> None:
        self.ranks.allReduce(x.data.ptr, total.data.ptr, x.size, self.kind(x), self.nccl.NCCL_SUM, stream.ptr)


class Enqueued:
    """A sum on another stream, and the array that it writes."""

    def __init__(self, cupy: Any, event: Any, x: Array) -> None:
        self.cupy, self.event, self.x = cupy, event, x

    def progress(self) -> bool:
        return self.event.done

    def wait(self) -> None:
        """Let the current stream wait for the sum; the host goes on."""
        self.cupy.cuda.get_current_stream().wait_event(self.event)


def on_gpus(ranks: Communicator) -> Communicator:
    """The same ranks for arrays on GPUs: those on one machine take its GPUs in turn."""
    if ranks.size == 1:
        return ranks
    from .world import neighbours

    cupy = gpu()
    place = neighbours(ranks).index(ranks.rank)
    cupy.cuda.Device(place % cupy.cuda.runtime.getDeviceCount()).use()
    return NCCL(ranks)
