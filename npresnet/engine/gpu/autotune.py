"""Measuring which of several equivalent launches is the fastest on this GPU."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from ...backend import captured

REPEATS = 5  # in one graph, so that the time to start it is shared
ROUNDS = 3


def autotune(cupy: Any, runs: Sequence[Callable[[], Any]]) -> int:
    """The index of the run that takes the device the least time, by medians; 0 where there is no choice.

    Each is launched once, which compiles it, and then timed as a graph: a launch from Python takes longer than the
    kernel that it launches.
    """
    if len(runs) == 1:
        return 0
    for run in runs:
        run()
    graphs = [captured(cupy, lambda run=run: [run() for _ in range(REPEATS)])[0] for run in runs]
    times = [[] for _ in runs]
    for _ in range(1 + ROUNDS):
        for graph, found in zip(graphs, times):
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            graph.launch()
            stop.record()
            stop.synchronize()
            found.append(cupy.cuda.get_elapsed_time(start, stop))
    medians = [median(found[1:]) for found in times]  # the first round warms up
    return medians.index(min(medians))
