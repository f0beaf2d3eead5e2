"""Walls around the memory that kernels are given: for one test as a fixture, or for all of a run as a plugin.

    python -m pytest -p tests.support.walls tests/kernels tests/engine

The arrays that kernels ask for then end, or begin, in turn, at a page that nobody may touch: a read or a write beside
them ends the process.  What is left of an array's own pages is filled with bricks, which must stand when it is gone;
then its pages are closed as well, so that a late read ends the process, too.
"""

import ctypes
import mmap
import sys
from collections import deque
from math import prod
from threading import RLock
from weakref import WeakSet

import numpy as np

BRICK, PAGE, LINE = 0xAB, mmap.PAGESIZE, 64
NOBODY = 0  # PROT_NONE
CLOSED = 512  # arrays that are gone, whose pages stay closed
LOCK = RLock()


class Walls:
    """What takes the place of ``arrays.empty``; ``fallen`` are the shapes of arrays beside which something wrote."""

    def __init__(self):
        self.fallen, self.made, self.closed, self.standing = [], 0, deque(maxlen=CLOSED), WeakSet()

    def empty(self, shape, dtype=np.float32):
        """An uninitialized array on a cache line, at the end of its pages or at their beginning."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.made += 1
        pages = _Pages(self, shape, np.dtype(dtype), self.made % 2)
        self.standing.add(pages)
        return np.asarray(pages)

    def stand(self):
        """Raise where a wall has fallen since the last call."""
        fallen, self.fallen = self.fallen + [pages.shape for pages in self.standing if not pages.whole()], []
        assert not fallen, f"written beside arrays of shapes {fallen}"


class _Pages:
    """One array's pages between two closed ones."""

    def __init__(self, walls, shape, dtype, at_the_end):
        self.walls, self.shape, self.size = walls, shape, prod(shape) * dtype.itemsize
        self.bytes = -(-max(self.size, 1) // PAGE) * PAGE
        self.map, self.gone = mmap.mmap(-1, self.bytes + 2 * PAGE), False
        self.map[PAGE:-PAGE] = bytes([BRICK]) * self.bytes
        self.first = (self.bytes - self.size) // LINE * LINE if at_the_end else 0
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map)) + PAGE
        _close(self.start - PAGE, PAGE)
        _close(self.start + self.bytes, PAGE)
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (self.start + self.first, False),
        }

    def whole(self) -> bool:
        """Whether every brick stands; of pages that are closed, it has been said."""
        with LOCK:
            return self.gone or self._whole()

    def _whole(self):
        around = self.map[PAGE : PAGE + self.first], self.map[PAGE + self.first + self.size : -PAGE]
        return not any(part.strip(bytes([BRICK])) for part in around)

    def __del__(self):
        with LOCK:  # the last reference may be a worker's, while another thread looks at the walls
            if not self._whole():
                self.walls.fallen.append(self.shape)
            _close(self.start, self.bytes)
            self.gone = True
        self.walls.closed.append(self.map)


def _close(where, size):
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(where), ctypes.c_size_t(size), NOBODY):
        raise OSError("mprotect")


def build():
    """Put walls around whatever the kernels ask for from now on; also returns what :func:`pull_down` wants."""
    from npresnet.backend import load_kernels

    load_kernels("numba")
    from npresnet.kernels.cpu import arrays

    walls, before = Walls(), {}
    for name, module in list(sys.modules.items()):
        made_by = getattr(module, "empty", None) if name.startswith("npresnet.kernels.cpu.") else None
        walled = isinstance(getattr(made_by, "__self__", None), Walls)
        if module is not arrays and (made_by is arrays.empty or walled):
            before[module], module.empty = made_by, walls.empty
    return walls, before


def pull_down(before):
    for module, made_by in before.items():
        module.empty = made_by


def pytest_configure(config):
    config.walls, _ = build()


def pytest_runtest_teardown(item):
    item.config.walls.stand()


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line(f"{config.walls.made} arrays between walls")
