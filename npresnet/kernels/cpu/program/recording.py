"""A recording: the launches of a function, run again in one call of the thread pool, for other arrays.

    notes = Recording()
    with recording(notes):                          # of npresnet.backend; runs as ever, and is recorded
        y = function(x, w)
    program = notes.program([x, w])
    program.run([other_x, other_w])                 # y now holds what function(other_x, other_w) would return

The arrays that the kernels make meanwhile lie in blocks of the recording's own, where the program's next run writes
them again.  What Python computes from results of kernels between the launches would not be computed again: whoever does
so calls :func:`npresnet.backend.must_run_each_time` before, and then nothing can be recorded; or, as where ranks speak
to each other, lets :func:`npresnet.backend.between_launches` do it, which is noted and called again at its place.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from ....backend import Array
from ..arrays import Blocks, addresses, empty, release_idle
from ..threads import threads_now
from .chains import Row
from .entry_point import run_part
from .program import Program

SMALL = 2**18            # bytes: where sums and coefficients take each other's place, they end each other's chains

__all__ = ["Recorded", "Recording", "release_idle"]


class Launches:
    """Launches that follow each other without Python between them."""

    def __init__(self):
        self.rows: list[Row] = []
        self.places: list[tuple[int, int]] = []              # of addresses: which row, which of its numbers


class Recording:
    """What is noted inside ``with recording(…)``; several with the same ``blocks`` may follow each other."""

    def __init__(self, blocks: Blocks | None = None):
        self.blocks = blocks or Blocks(SMALL)
        self.parts: list[Launches | Callable[[], Any]] = [Launches()]
        self.others: list[Any] = []                          # arrays that lie elsewhere than in the blocks

    def add(self, launches: Sequence[Any], rows: Sequence[Row]) -> None:
        """Note these launches, which have been run."""
        part: Any = self.parts[-1]
        for launch, row in zip(launches, rows):
            for place, value in enumerate(launch.arguments):
                if isinstance(value, np.ndarray):
                    part.places.append((len(part.rows), place))
                    if not self._lent(value):
                        self.others.append(value)
            part.rows.append(row)

    def add_call(self, function: Callable[[], Any]) -> None:
        """Note a call of Python between what was launched and what will be; it keeps the arrays that it uses."""
        self.parts += [function, Launches()]

    def _lent(self, array) -> bool:
        """Whether the array lies in one of the blocks, which may serve others when it is gone."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        return getattr(array.base, "blocks", None) is self.blocks

    def program(self, inputs: Sequence[Array]) -> "Recorded":
        """What runs the launches again, for other arrays in the place of ``inputs``."""
        return Recorded(self, inputs)


class Piece:
    """The program of some launches, and where in it the addresses of the inputs stand."""

    def __init__(self, launches: Launches, inputs: Sequence[Array]):
        self.program = Program(launches.rows, run_part.address)
        numbers, firsts = self.program.numbers, self.program.firsts
        places = np.array([firsts[row] + place for row, place in launches.places], np.int64)
        starts = np.array(addresses(inputs), np.int64)
        order = np.argsort(starts)
        at = np.searchsorted(starts[order], numbers[places], side="right") - 1           # the last to begin before
        owner = order[np.maximum(at, 0)]
        sizes = np.array([array.nbytes for array in inputs], np.int64)
        distance = numbers[places] - starts[owner]
        inside = (at >= 0) & (distance < sizes[owner])
        self.places, self.owner, self.distance = places[inside], owner[inside], distance[inside]

    def set_inputs(self, starts: Array) -> None:
        """Let it run for the inputs at these addresses."""
        self.program.numbers[self.places] = starts[self.owner] + self.distance


class Recorded:
    """The programs of a recording, and the calls of Python between them."""

    def __init__(self, recording: Recording, inputs: Sequence[Array]):
        parts = [part for part in recording.parts if not isinstance(part, Launches) or part.rows]
        self.parts = [Piece(part, inputs) if isinstance(part, Launches) else part for part in parts]
        spans = [byte_bounds(array) for array in inputs if array.size]       # others take the inputs' places
        others = [a for a in recording.others if not any(low <= byte_bounds(a)[0] < high for low, high in spans)]
        self.memory, self.work = (recording.blocks, others), empty(0, np.uint8)
        self.work_step = max((part.program.work_step for part in self.parts if isinstance(part, Piece)), default=0)

    def run(self, inputs: Sequence[Array]) -> None:
        """Run it for these inputs, as contiguous as those of the recording and of the same shapes and dtypes."""
        threads, starts = threads_now(), np.array(addresses(inputs), np.int64)
        if self.work.size < threads * self.work_step:
            self.work = empty(threads * self.work_step, np.uint8)
        for part in self.parts:
            if not isinstance(part, Piece):
                part()
                continue
            part.set_inputs(starts)
            part.program.run(threads, self.work, (self.memory, list(inputs)))
