"""A plan with its addresses filled in: what the team of threads walks through, call after call."""

from itertools import pairwise
from time import perf_counter

import numpy as np

from ..kernels.cpu.memory import addresses
from ..kernels.cpu.team import TEAM, kernel_at


class Program:
    """Stretches of kernels, each one call of the team, and between them the steps that have no kernel.

    ``launches`` are (step, images, addresses read, address written); what reads the node ``source``, the net's input,
    has an offset there instead, to which every call adds that of its input.
    """

    def __init__(self, launches, source):
        self.launches, self.stretches = list(launches), []
        self.arguments, places = [], []                       # arrays among them, whose addresses the numbers hold
        for step, n, reads, y in self.launches:
            places.append(len(self.arguments))
            if step.kernel:
                self.arguments += _flat(step.arguments(n, reads[0], y, reads[1] if len(reads) > 1 else 0))
        self.numbers = np.array(addresses(self.arguments), np.int64)
        self.rows = np.array([self._row(*pair) for pair in zip(self.launches, places)], np.int64).reshape(-1, 3)
        self.from_input = [(place, reads[0]) for (step, _, reads, _), place in zip(self.launches, places)
                           if step.kernel and step.node.inputs[0] is source]
        self.source = source
        starts = [k for k, (step, *_) in enumerate(self.launches) if not step.kernel]
        self.stretches = _stretches(len(self.launches), starts)

    def _row(self, launch, place):
        step, n, *_ = launch
        if not step.kernel:
            return 0, 0, 0
        return kernel_at(step.kernel), self.numbers.ctypes.data + 8 * place, step.items(n)

    def run(self, x, threads, work, work_bytes, profile=False):
        """Carry it out for the input at address ``x``; with ``profile`` a list of (step, seconds)."""
        for place, offset in self.from_input:
            self.numbers[place] = x + offset
        times = []
        for first, last in [(k, k + 1) for k in range(len(self.rows))] if profile else self.stretches:
            start = perf_counter()
            step, n, reads, y = self.launches[first]
            if step.kernel:
                TEAM.run(self.rows[first:last], threads, work, work_bytes)
            else:
                step.compute(n, reads[0] + x * (step.node.inputs[0] is self.source), y)
            times.append((step, perf_counter() - start))
        return times if profile else []


def _stretches(total, alone):
    """(first, last) of the runs of launches between those that stand ``alone``, and of these."""
    borders = sorted({0, total, *alone, *(k + 1 for k in alone)})
    return list(pairwise(borders))


def _flat(arguments):
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _flat(argument)
        else:
            yield argument
