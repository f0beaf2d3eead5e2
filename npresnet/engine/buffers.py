"""Where each result lies in memory: results that are never needed at the same time share a place."""

from typing import NamedTuple

import numpy as np

from ..kernels.cpu.arrays import addresses

ALIGN = 64


class Buffers:
    """The memory a call works in: an arena for the results of steps and the threads' workspaces, ``sizes`` in bytes.

    ``arena`` and ``work`` are their addresses, which hold as long as these buffers do.
    """

    def __init__(self, sizes):
        self.sizes, self._arrays = sizes, [np.empty(nbytes + ALIGN, np.uint8) for nbytes in sizes]
        self.arena, self.work = (-(-at // ALIGN) * ALIGN for at in addresses(self._arrays))

    def grown(self, sizes):
        """These buffers where they are large enough, or new ones."""
        sizes = tuple(map(max, sizes, self.sizes))
        return self if sizes == self.sizes else Buffers(sizes)


class Life(NamedTuple):
    """A result: its size, and the first and last step at which it must exist."""

    nbytes: int
    birth: int
    death: int


def assign(lives: dict) -> tuple[dict, int]:
    """key -> offset in one arena, and the arena's size.  The largest are placed first, each as low as it fits."""
    placed, offsets = [], {}
    for key, life in sorted(lives.items(), key=lambda item: -item[1].nbytes):
        offset = 0
        for start, stop, other in sorted(placed):
            together = life.birth <= other.death and other.birth <= life.death
            if together and start < offset + life.nbytes and offset < stop:
                offset = stop
        stop = offset + -(-life.nbytes // ALIGN) * ALIGN
        placed.append((offset, stop, life))
        offsets[key] = offset
    return offsets, max((stop for _, stop, _ in placed), default=0)
