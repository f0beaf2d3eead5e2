"""A program: launches laid out for the thread pool, in chains where their images allow it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import LINE, addresses
from .chains import Row, chained, parts
from .thread_pool import POOL


class Program:
    """``rows``, to be run any number of times; ``chain`` is the address of the kernel that runs a part of a chain.

    ``numbers`` are the arguments, ``firsts`` the place of each row's first.
    """

    def __init__(self, rows: Sequence[Row], chain: int):
        self.work_step = -(-max(row.work_bytes for row in rows) // LINE) * LINE
        flat: list[int] = []
        self.firsts = []
        for row in rows:
            self.firsts.append(len(flat))
            flat += row.numbers
        place = {id(row): first for row, first in zip(rows, self.firsts)}
        steps = chained(rows)
        length = len(flat) + sum(3 + 4 * len(step) for step in steps if len(step) > 1)
        self.numbers = np.empty(length, np.int64)
        (base,) = addresses([self.numbers])

        def described(row):
            return row.kernel, len(row.numbers), base + 8 * place[id(row)]

        table = []
        for step in steps:
            first = step[0]
            if len(step) == 1:
                table.append((*described(first), first.items))
                continue
            members = [n for row in step for n in (*described(row), row.each)]
            table.append((chain, 3, base + 8 * len(flat), parts(first.images)))
            flat += [first.images, base + 8 * (len(flat) + 3), len(step), *members]
        self.numbers[:] = flat
        self.steps = np.array(table, np.int64)
        self.most = max(items for *_, items in table)      # threads that find work

    def run(self, threads: int, work: Any, memory: Any) -> None:
        """Run it; ``work`` is an array of ``threads * work_step`` bytes, or None; ``memory`` all that it leads to."""
        (at,) = addresses([work])
        POOL.run(self.steps, min(threads, self.most), at, self.work_step, (memory, self.numbers, work))
