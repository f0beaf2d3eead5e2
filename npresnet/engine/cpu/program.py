"""A plan with its addresses filled in: what the thread pool runs, call after call."""

import weakref
from itertools import pairwise
from time import perf_counter

import numpy as np

from ...kernels.cpu.arrays import addresses
from ...kernels.cpu.program.beside import compile_beside
from ...kernels.cpu.program.thread_pool import POOL


class Program:
    """Stretches of kernels, each one call of the thread pool, and between them the steps that have no kernel.

    ``launches`` are (step, images, addresses read, address written); what reads the node ``source``, the net's input,
    has an offset there instead, to which every call adds that of its input.  All other addresses lie in ``buffers``,
    which the engine keeps, not the program, or belong to a step.
    """

    def __init__(self, launches, source, buffers):
        self.launches, self._buffers = list(launches), weakref.ref(buffers)
        self.source, self.from_input = source, []  # (place of an address, how far into the input it lies)
        compile_beside(dict.fromkeys(step.kernel for step, *_ in self.launches if step.kernel))
        self.arguments, places = [], []  # arrays among them, whose addresses the numbers hold
        for step, n, reads, y in self.launches:
            places.append(len(self.arguments))
            if step.kernel:
                arguments = step.arguments(n, reads[0], y, reads[1] if len(reads) > 1 else 0)
                if step.node.inputs[0] is source:
                    self.from_input.append((places[-1], reads[0]))
                self.arguments += arguments
        self.numbers = np.array(addresses(self.arguments), np.int64)
        (numbers_at,) = addresses([self.numbers])
        rows = [
            (step.kernel.address, end - place, numbers_at + 8 * place, step.items(n)) if step.kernel else (0, 0, 0, 0)
            for (step, n, *_), (place, end) in zip(self.launches, pairwise([*places, len(self.arguments)]))
        ]
        self.rows = np.array(rows, np.int64).reshape(-1, 4)
        starts = [k for k, (step, *_) in enumerate(self.launches) if not step.kernel]
        self.stretches = _stretches(len(self.launches), starts)

    def fits(self, buffers) -> bool:
        """Whether the program was made for these very buffers, and not for others that began at the same addresses."""
        return self._buffers() is buffers

    def run(self, x, buffers, threads, work_bytes, profile=False):
        """Carry it out for the input x in its buffers; with ``profile`` a list of (step, seconds)."""
        memory = self, x, buffers
        (first_of_x,) = addresses([x])
        for place, distance in self.from_input:
            self.numbers[place] = first_of_x + distance
        times = []
        for first, last in [(k, k + 1) for k in range(len(self.rows))] if profile else self.stretches:
            start = perf_counter()
            step, n, reads, y = self.launches[first]
            if step.kernel:
                POOL.run(self.rows[first:last], threads, buffers.work, work_bytes, memory)
            else:
                step.compute(n, reads[0] + first_of_x * (step.node.inputs[0] is self.source), y)
            times.append((step, perf_counter() - start))
        return times if profile else []


def _stretches(total, alone):
    """(first, last) of the runs of launches between those that stand ``alone``, and of these."""
    borders = sorted({0, total, *alone, *(k + 1 for k in alone)})
    return list(pairwise(borders))
