"""A stand-in for CuPy's NCCL between threads of one process: it checks every call, and computes with NumPy."""

import ctypes
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import numpy as np

from . import fake_cupy

NUMBERS = {"NCCL_FLOAT16": 6, "NCCL_FLOAT32": 7, "NCCL_FLOAT64": 8, "NCCL_INT64": 4}  # as in nccl.h
DTYPES = {6: np.float16, 7: np.float32, 8: np.float64, 4: np.int64}
SUM = 0


class World:
    """What the ranks of an id share: a table, and every rank's calls."""

    def __init__(self, meeting):
        self.meeting, self.calls = meeting, {}


def at(address, count, dtype):
    """The array of the "device" at an address."""
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype)


def module(world):
    """A module that answers to ``from cupy.cuda import nccl``."""
    nccl = ModuleType("cupy.cuda.nccl")
    vars(nccl).update(NUMBERS, NCCL_SUM=SUM, get_unique_id=lambda: (3, 1, 4))

    class NcclCommunicator:
        def __init__(self, size, commId, rank):
            assert (size, commId) == (len(world.meeting.table), (3, 1, 4))
            self.size, self.rank = size, rank
            world.calls[rank] = []

        def noted(self, name, sent, count, kind, stream):
            """Every rank's array, once all have made the same call."""
            world.calls[self.rank].append((name, count, kind, bool(stream)))
            world.meeting.table[self.rank] = (world.calls[self.rank][-1], at(sent, count, DTYPES[kind]).copy())
            world.meeting.barrier.wait()
            calls, arrays = zip(*world.meeting.table)
            world.meeting.barrier.wait()
            assert len(set(calls)) == 1, f"the ranks' calls differ: {calls}"
            return arrays

        def allReduce(self, sent, received, count, kind, op, stream):
            assert op == SUM
            at(received, count, DTYPES[kind])[...] = sum(self.noted("allReduce", sent, count, kind, stream))

        def allGather(self, sent, received, count, kind, stream):
            rows = self.noted("allGather", sent, count, kind, stream)
            at(received, count * self.size, DTYPES[kind])[...] = np.concatenate(rows)

    nccl.NcclCommunicator = NcclCommunicator
    return nccl


@contextmanager
def installed(meeting):
    """CuPy's stand-in with NCCL; yields the :class:`World`, whose ``calls`` are each rank's."""
    world = World(meeting)
    with fake_cupy.installed() as cupy:
        nccl = module(world)
        with (
            mock.patch.dict("sys.modules", {"cupy.cuda.nccl": nccl}),
            mock.patch.object(cupy.cuda, "nccl", nccl, create=True),
        ):
            yield world
