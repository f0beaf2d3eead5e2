"""Arrays in a pool of memory blocks.

Every training step needs the same large arrays.  Fresh ones cost a page fault every few kilobytes, about as much as a
pass over them; so a block is kept when the last array in it is gone, for the next array of its size.  No block serves
two arrays at once: the rule that arrays are never written to holds.
"""

import os
import threading
import weakref
from collections import defaultdict
from ctypes import addressof, c_char
from math import prod
from time import monotonic, sleep
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...backend import Array, recorder

LINE = 64                # bytes in a cache line: a vector that begins elsewhere touches two
PAGE = 4096
IDLE = 4096              # requests after which a block that served none of them is given back to the system
SECONDS = 3.0            # and the time after which one is, if there is no request at all


class _Lease:
    """Holds a block for one array; when the array and all its views are gone, the block is free again."""

    __slots__ = ("__array_interface__", "address", "block", "blocks")

    def __init__(self, blocks, block, address, shape, dtype):
        self.blocks, self.block, self.address = blocks, block, address
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": np.dtype(dtype).str,
                                    "data": (address, False)}

    def __del__(self):
        self.blocks.take_back(self.block, self.address)


class Blocks:
    """Blocks of memory, each serving one array at a time; all are kept as long as these are.

    Those of less than ``smallest`` bytes serve one array only.
    """

    def __init__(self, smallest: int = 0):
        self.free = defaultdict(list)       # bytes -> [(request at which it came back, block, address)], latest last
        self.requests, self.all, self.smallest = 0, [], smallest

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An uninitialized C-contiguous array that begins on a cache line."""
        self.requests += 1
        size = -(-(prod(shape) * np.dtype(dtype).itemsize + LINE) // PAGE) * PAGE
        try:
            _, block, address = self.free[self._fitting(size)].pop()
        except IndexError:
            block = self.new_block(size)
            address = -(-block.ctypes.data // LINE) * LINE
        return np.asarray(_Lease(self, block, address, shape, dtype))

    def _fitting(self, size):
        """The size of the blocks that waste least; at most half of one."""
        if self.free[size]:
            return size
        return min((s for s, blocks in list(self.free.items()) if size < s <= 2 * size and blocks), default=size)

    def take_back(self, block: Array, address: int) -> None:
        """The array in this block is gone."""
        if block.size >= self.smallest:
            self.free[block.size].append((self.requests, block, address))

    def new_block(self, size: int) -> Array:
        """A block that no array uses."""
        self.all.append(np.empty(size, np.uint8))
        return self.all[-1]

    def idle_bytes(self) -> int:
        """Bytes in blocks that no array uses."""
        return sum(size * len(blocks) for size, blocks in list(self.free.items()))


class _Common(Blocks):
    """The blocks that arrays come from where nothing else is said.  What lies idle for long goes back to the system.

    A thread looks whether there has been no request for a while; with nothing idle, it sleeps.
    """

    def __init__(self):
        super().__init__()
        self._peak = 0                       # the most bytes that arrays held at once
        self._wake, self._watching = threading.Event(), False

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        if self.requests % IDLE == IDLE - 1:
            self._release_before(self.requests - IDLE)
        return super().empty(shape, dtype)

    def take_back(self, block: Array, address: int) -> None:
        super().take_back(block, address)
        if not self._wake.is_set():
            self._wake.set()

    def new_block(self, size: int) -> Array:
        """A new block.

        Images of many sizes leave idle blocks of each; the longest idle ones are released until all idle ones together
        weigh no more than arrays ever did at once.
        """
        self._start_watching()
        self.all = [block for block in self.all if block() is not None]
        total = sum(block.size for known in self.all if (block := known()) is not None)
        idle = self.idle_bytes()
        self._peak = max(self._peak, total - idle + size)
        try:
            while idle > self._peak:
                longest = min(filter(None, list(self.free.values())), key=lambda blocks: blocks[0][0])
                idle -= longest.pop(0)[1].size
        except (IndexError, ValueError):     # another thread has taken it meanwhile, or all of them
            pass
        block = np.empty(size, np.uint8)
        self.all.append(weakref.ref(block))
        return block

    def release_idle(self) -> None:
        """Give every block that no array uses back to the system."""
        self.free.clear()
        self._peak = 0

    def _release_before(self, request):
        """Release the blocks that came back before this request and lay idle since."""
        for blocks in list(self.free.values()):
            try:
                while blocks[0][0] < request:
                    blocks.pop(0)            # another thread may take from the end meanwhile
            except IndexError:
                continue

    def _start_watching(self):
        if not self._watching:
            self._watching = True
            try:
                threading.Thread(target=self._watch, name="npresnet memory", daemon=True).start()
            except RuntimeError:             # no more threads; the blocks stay
                pass

    def _watch(self):
        while True:
            self._wake.wait()
            seen, since = self.requests, monotonic()
            while monotonic() - since < SECONDS:
                sleep(SECONDS / 3)
                if self.requests != seen:
                    seen, since = self.requests, monotonic()
            self._wake.clear()
            self.release_idle()


_common = _Common()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_common.__init__)         # the thread is in the other process


def empty(shape, dtype: DTypeLike = np.float32) -> Array:
    """An uninitialized C-contiguous array that begins on a cache line; inside a recording in one of its blocks."""
    notes, shape = recorder(), (shape,) if isinstance(shape, int) else tuple(shape)
    return (_common if notes is None else notes.blocks).empty(shape, dtype)


def empty_like(x: Array) -> Array:
    """:func:`empty`, its axes in memory in the order of those of x."""
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    return empty([x.shape[axis] for axis in order], x.dtype).transpose([order.index(axis) for axis in range(x.ndim)])


def addresses(arguments) -> list[Any]:
    """``arguments`` with each array replaced by its address, and None by 0.

    An address does not keep its array alive: whoever calls holds ``arguments`` for as long as the addresses are used.
    """
    return [_address(a) if isinstance(a, np.ndarray) else 0 if a is None else a for a in arguments]


def _address(array) -> int:
    try:
        return addressof(c_char.from_buffer(array))      # in a third of the time
    except (TypeError, ValueError, BufferError):         # read-only, empty, not contiguous
        return array.ctypes.data


def is_float32(*arrays) -> bool:
    """Whether all of these are NumPy's arrays of float32."""
    return all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in arrays)


def release_idle() -> None:
    """Give every block that no array uses back to the system."""
    _common.release_idle()
