"""A recording: the launches of a function, run again in one call of the thread pool, for other arrays.

    recording = Recording(threads)
    with recording:                                 # runs as ever, and is recorded
        y = function(x, w)
    program = recording.program([x, w])
    program.run([other_x, other_w])                 # y now holds what function(other_x, other_w) would return

The arrays that the kernels make meanwhile lie in blocks of the recording's own, where the program's next run writes
them again.  What Python computes from results of kernels between the launches would not be computed again: whoever does
so calls :func:`npresnet.backend.must_run_each_time` before, and then nothing can be recorded.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ....backend import Array, recording
from ..arrays import LINE, Blocks, addresses, arrays_from, release_idle
from ..threads import threads_now
from .thread_pool import POOL

__all__ = ["Program", "Recording", "release_idle"]


class Recording:
    """A context manager that records; several with the same ``blocks`` may follow each other."""

    def __init__(self, blocks: Blocks | None = None):
        self.blocks, self.context = blocks or Blocks(), ExitStack()
        self.rows: list[tuple[int, int, int]] = []           # kernel, place of its first argument, items
        self.arguments: list[Any] = []                       # an array as its address
        self.places: list[int] = []                          # of those addresses
        self.others: list[Any] = []                          # arrays that lie elsewhere than in the blocks
        self.work_bytes = 0

    def __enter__(self) -> "Recording":
        self.context.enter_context(arrays_from(self.blocks))
        self.context.enter_context(recording(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self.context.close()

    def add(self, launches: Sequence[Any]) -> None:
        """Note these launches, which have been run."""
        for launch in launches:
            self.rows.append((launch.kernel.address, len(self.arguments), launch.items))
            for value, address in zip(launch.arguments, addresses(launch.arguments)):
                if isinstance(value, np.ndarray):
                    self.places.append(len(self.arguments))
                    if not self._lent(value):
                        self.others.append(value)
                self.arguments.append(address)
            self.work_bytes = max(self.work_bytes, launch.work_bytes)

    def _lent(self, array) -> bool:
        """Whether the array lies in one of the blocks, which may serve others when it is gone."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        return getattr(array.base, "blocks", None) is self.blocks

    def program(self, inputs: Sequence[Array]) -> "Program":
        """What runs the launches again, for other arrays in the place of ``inputs``."""
        return Program(self, inputs)


class Program:
    """The launches of a recording, their addresses filled in."""

    def __init__(self, recording: Recording, inputs: Sequence[Array]):
        self.numbers = np.array(recording.arguments, np.int64)
        self.step = -(-recording.work_bytes // LINE) * LINE
        (at,) = addresses([self.numbers])
        self.rows = np.array([(kernel, at + 8 * place, items) for kernel, place, items in recording.rows], np.int64)
        self.rows = self.rows.reshape(-1, 3)
        self.memory = recording.blocks, recording.others, self.numbers
        self.work = np.empty(0, np.uint8)
        places = np.array(recording.places, np.int64)
        starts = np.array(addresses(inputs), np.int64)
        order = np.argsort(starts)
        at = np.searchsorted(starts[order], self.numbers[places], side="right") - 1      # the last to begin before
        owner = order[np.maximum(at, 0)]
        sizes = np.array([array.nbytes for array in inputs], np.int64)
        distance = self.numbers[places] - starts[owner]
        inside = (at >= 0) & (distance < sizes[owner])
        self.places, self.owner, self.distance = places[inside], owner[inside], distance[inside]

    def run(self, inputs: Sequence[Array], threads: int | None = None) -> None:
        """Run it for these inputs, as contiguous as those of the recording and of the same shapes and dtypes."""
        threads = threads or threads_now()
        self.numbers[self.places] = np.array(addresses(inputs), np.int64)[self.owner] + self.distance
        if self.work.size < threads * self.step + LINE:
            self.work = np.empty(threads * self.step + LINE, np.uint8)
        (at,) = addresses([self.work])
        POOL.run(self.rows, threads, -(-at // LINE) * LINE, self.step, (self.memory, self.work, list(inputs)))

