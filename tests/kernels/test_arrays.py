"""The pool of memory that arrays come from."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet.backend import recording
from npresnet.kernels.cpu import arrays
from npresnet.kernels.cpu.arrays import IDLE, Blocks, empty, release_idle


def test_a_block_of_memory_serves_one_array_at_a_time():
    first = empty((3, 50_000))
    part, where = first[1:], first.ctypes.data
    del first
    second = empty((3, 50_000))
    assert not np.shares_memory(part, second) and second.ctypes.data % 64 == 0  # a view keeps its block
    del part
    assert empty((50_000, 3)).ctypes.data == where  # and gives it back at its end
    for _ in range(2 * IDLE):
        empty(5)
    assert not memory_held(600_000)


def test_idle_blocks_are_released():
    empty((3, 50_000))
    assert memory_held(600_000)
    release_idle()
    assert not memory_held(0)


def test_arrays_of_many_sizes_leave_no_more_than_was_in_use_at_once():
    release_idle()
    sizes = np.random.default_rng(0).integers(1 << 12, 1 << 18, (100, 5))
    held = []
    for some in sizes:
        made = [empty(int(size)) for size in some]
        del made
        held.append(bytes_held())
    assert max(held) <= 2 * 4 * max(sum(some) for some in sizes) < 4 * sizes.sum() / 10
    blocks = {array.ctypes.data for array in [empty(int(size)) for size in sizes[-1]]}
    assert {array.ctypes.data for array in [empty(int(size)) for size in sizes[-1]]} == blocks  # the last are there
    release_idle()


def test_what_lies_idle_is_released_soon(monkeypatch):
    monkeypatch.setattr(arrays, "SECONDS", 0.06)
    held = empty((3, 50_000))
    del held
    for _ in range(100):
        if not memory_held(0):
            break
        time.sleep(0.1)
    assert not memory_held(0)


def test_arrays_may_come_from_blocks_of_their_own():
    own = Blocks()
    release_idle()
    with recording(SimpleNamespace(blocks=own)):
        first = empty((3, 50_000))
    del first
    assert own.idle_bytes() >= 600_000 and not memory_held(600_000)
    with recording(SimpleNamespace(blocks=own)):
        again = empty((3, 50_000))
    assert own.idle_bytes() == 0 and len(own.all) == 1 and np.shares_memory(own.all[0], again)


def bytes_held():
    return sum(size * len(blocks) for size, blocks in arrays._common.free.items())


def memory_held(size):
    return sum(len(blocks) for bytes_, blocks in arrays._common.free.items() if bytes_ >= size)
