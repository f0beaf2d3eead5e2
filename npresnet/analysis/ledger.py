"""The cost ledger: the same walk with the real network and real numbers, each layer timed."""

from dataclasses import replace
from time import perf_counter

from .walk import Row, Walk


class Timed(Walk):
    """A walk that runs every layer, and notes how long it took."""

    def run(self, layer, x):
        start = perf_counter()
        y = layer(x)
        return y, perf_counter() - start

    def sum(self, branch, shortcut):
        return branch + shortcut

    def own(self, y):
        return y


def timed_rows(model, x, repeats=3) -> tuple[Row, ...]:
    """As :func:`tree_rows`, for the array x, with the shortest time of ``repeats`` runs for each call."""
    runs = []
    for _ in range(repeats + 1):                                  # the first one compiles and warms up
        walk = Timed(model, batch=len(x))
        walk.through(model, x)
        runs.append(walk.rows)
    return tuple(row if row.inside else replace(row, seconds=min(other.seconds for other in calls[1:]))
                 for row, *calls in zip(runs[-1], *runs))
