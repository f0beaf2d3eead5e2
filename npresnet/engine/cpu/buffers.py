"""The memory that a call of the engine works in."""

import numpy as np

from ...kernels.cpu.arrays import addresses
from ..buffers import ALIGN


class Buffers:
    """An arena for the results of steps and the threads' workspaces, ``sizes`` in bytes.

    ``arena`` and ``work`` are their addresses, which hold as long as these buffers do.
    """

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes, self._arrays = sizes, [np.empty(nbytes + ALIGN, np.uint8) for nbytes in sizes]
        self.arena, self.work = (-(-at // ALIGN) * ALIGN for at in addresses(self._arrays))

    def grown(self, sizes: tuple[int, ...]) -> "Buffers":
        """These buffers where they are large enough, else new ones."""
        sizes = tuple(map(max, sizes, self.sizes))
        return self if sizes == self.sizes else Buffers(sizes)
