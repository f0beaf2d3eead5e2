"""Memory that is used again.

Every training step asks for the same large arrays.  Fresh ones cost a page fault every few kilobytes, about as much as
a pass over them; so a block is kept when the last array in it is gone, for the next array of its size.  Nobody writes
to a block that an array still sees: the rule that arrays are never written to holds.
"""

import weakref
from collections import defaultdict
from ctypes import addressof, c_char
from math import prod

import numpy as np

LINE = 64                # bytes in a cache line: a vector that begins elsewhere touches two
PAGE = 4096
IDLE = 4096              # requests after which a block nobody asked for is given back to the system

_free = defaultdict(list)       # bytes -> [(request at which it came back, block, its address)], the latest last
_requests = 0
_made, _most = [], 0            # blocks there are; the most bytes of them that arrays have held at once


class _Lease:
    """One array's right to a block; when the array and all its views are gone, the block is free again."""

    __slots__ = ("__array_interface__", "address", "block")

    def __init__(self, block, address, shape, dtype):
        self.block, self.address = block, address
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": np.dtype(dtype).str,
                                    "data": (address, False)}

    def __del__(self, free=_free):                           # still there when the interpreter has dropped the name
        free[self.block.size].append((_requests, self.block, self.address))


def empty(shape, dtype=np.float32):
    """An uninitialized C-contiguous array that begins on a cache line."""
    global _requests
    _requests += 1
    if _requests % IDLE == 0:
        _forget(_requests - IDLE)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = -(-(prod(shape) * np.dtype(dtype).itemsize + LINE) // PAGE) * PAGE
    try:
        _, block, address = _free[size].pop()
    except IndexError:
        block = _block(size)
        address = -(-block.ctypes.data // LINE) * LINE
    return np.asarray(_Lease(block, address, shape, dtype))


def empty_like(x):
    """:func:`empty`, its axes in memory in the order of those of x."""
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    return empty([x.shape[axis] for axis in order], x.dtype).transpose([order.index(axis) for axis in range(x.ndim)])


def addresses(arguments):
    """``arguments`` with each array replaced by its address, and None by 0.

    An address does not keep its array alive: whoever calls holds ``arguments`` for as long as the addresses are used.
    """
    return [_address(a) if isinstance(a, np.ndarray) else 0 if a is None else a for a in arguments]


def _address(array) -> int:
    try:
        return addressof(c_char.from_buffer(array))      # in a third of the time
    except (TypeError, ValueError, BufferError):         # read-only, empty, not contiguous
        return array.ctypes.data


def give_back():
    """Let go of every block that lies idle."""
    global _most
    _free.clear()
    _most = 0


def _block(size):
    """A new block.  Idle ones weigh no more than arrays ever did at once: images of many sizes leave some of each.

    """
    global _made, _most
    _made = [made for made in _made if made() is not None]
    total = sum(block.size for made in _made if (block := made()) is not None)
    idle = sum(size * len(blocks) for size, blocks in list(_free.items()))
    _most = max(_most, total - idle + size)
    try:
        while idle > _most:
            longest = min(filter(None, list(_free.values())), key=lambda blocks: blocks[0][0])
            idle -= longest.pop(0)[1].size
    except (IndexError, ValueError):         # another thread has taken it meanwhile, or all of them
        pass
    block = np.empty(size, np.uint8)
    _made.append(weakref.ref(block))
    return block


def _forget(before):
    """Let go of the blocks that came back before this request and lay idle since."""
    for blocks in list(_free.values()):
        try:
            while blocks[0][0] < before:
                blocks.pop(0)                # another thread may take from the end meanwhile
        except IndexError:
            continue
