"""Arrays in a pool of memory blocks.

Every training step needs the same large arrays.  Fresh ones cost a page fault every few kilobytes, about as much as a
pass over them; so a block is kept when the last array in it is gone, for the next array of its size.  No block serves
two arrays at once: the rule that arrays are never written to holds.
"""

import weakref
from collections import defaultdict
from ctypes import addressof, c_char
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...backend import Array

LINE = 64                # bytes in a cache line: a vector that begins elsewhere touches two
PAGE = 4096
IDLE = 4096              # requests after which a block that served none of them is given back to the system

_free = defaultdict(list)       # bytes -> [(request at which it came back, block, its address)], the latest last
_requests = 0
_blocks, _peak = [], 0          # weak references to all blocks; the most bytes of them that arrays have held at once


class _Lease:
    """Holds a block for one array; when the array and all its views are gone, the block is free again."""

    __slots__ = ("__array_interface__", "address", "block")

    def __init__(self, block, address, shape, dtype):
        self.block, self.address = block, address
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": np.dtype(dtype).str,
                                    "data": (address, False)}

    def __del__(self, free=_free):                           # still there when the interpreter has dropped the name
        free[self.block.size].append((_requests, self.block, self.address))


def empty(shape, dtype: DTypeLike = np.float32) -> Array:
    """An uninitialized C-contiguous array that begins on a cache line."""
    global _requests
    _requests += 1
    if _requests % IDLE == 0:
        _release_before(_requests - IDLE)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = -(-(prod(shape) * np.dtype(dtype).itemsize + LINE) // PAGE) * PAGE
    try:
        _, block, address = _free[size].pop()
    except IndexError:
        block = _new_block(size)
        address = -(-block.ctypes.data // LINE) * LINE
    return np.asarray(_Lease(block, address, shape, dtype))


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
    global _peak
    _free.clear()
    _peak = 0


def _new_block(size):
    """A new block.

    Images of many sizes leave idle blocks of each; the longest idle ones are released until all idle ones together
    weigh no more than arrays ever did at once.
    """
    global _blocks, _peak
    _blocks = [block for block in _blocks if block() is not None]
    total = sum(block.size for known in _blocks if (block := known()) is not None)
    idle = sum(size * len(blocks) for size, blocks in list(_free.items()))
    _peak = max(_peak, total - idle + size)
    try:
        while idle > _peak:
            longest = min(filter(None, list(_free.values())), key=lambda blocks: blocks[0][0])
            idle -= longest.pop(0)[1].size
    except (IndexError, ValueError):         # another thread has taken it meanwhile, or all of them
        pass
    block = np.empty(size, np.uint8)
    _blocks.append(weakref.ref(block))
    return block


def _release_before(request):
    """Release the blocks that came back before this request and lay idle since."""
    for blocks in list(_free.values()):
        try:
            while blocks[0][0] < request:
                blocks.pop(0)                # another thread may take from the end meanwhile
        except IndexError:
            continue
