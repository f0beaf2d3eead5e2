"""What bounds every kernel on a machine: the multiply-adds of its cores, and the bytes of its memory.

The roofline of Williams, Waterman & Patterson 2009 has these two as its roofs.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numba import types
from numba.core import cgutils

from .arrays import empty
from .codegen.jit import intrinsic
from .codegen.vector import LANES, Emit, copy
from .program.entry_point import Address, entry_point
from .threads import threads_now

SUMS = 12                # independent, so that no multiply-add waits for another; they fit the registers
STEPS = 500_000          # of all sums, an item: some milliseconds
CHUNK = 2**16            # floats copied by an item
REPEATS = 25


@intrinsic
def _multiply_add(context, steps, out):
    """s ← s·f + f in SUMS vectors at once, ``steps`` times; their sum is written to an address."""
    def codegen(context, builder, signature, args):
        e, factor = Emit(builder), Emit(builder).load(args[1])
        sums = [cgutils.alloca_once_value(builder, e.constant(k)) for k in range(SUMS)]
        with cgutils.for_range(builder, args[0]):
            for place in sums:
                builder.store(e.fma(builder.load(place), factor, factor), place)
        total = factor
        for place in sums:
            total = builder.fadd(total, builder.load(place))
        e.store(total, args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@entry_point
def multiply_add(item, work, steps: int, out: Address):
    """``steps`` · SUMS vectors of multiply-adds in registers; ``out`` holds a vector for each item."""
    _multiply_add(steps, out + item * LANES * 4)


@entry_point
def copy_chunk(item, work, source: Address, target: Address, chunk: int):
    """Copy ``chunk`` floats, those of the item."""
    copy(source + item * chunk * 4, target + item * chunk * 4, chunk)


def macs_per_second() -> float:
    """The multiply-adds of float32 a second of the threads in use: the peak of their cores together."""
    items = 4 * threads_now()
    out = np.zeros(items * LANES, np.float32)
    return items * STEPS * SUMS * LANES / _fastest(lambda: multiply_add(items, STEPS, out))


def bytes_per_second(size: int) -> float:
    """Bytes read or written a second, by a copy from one array to another of together ``size`` bytes."""
    items = max(1, size // (8 * CHUNK))
    source, target = empty(items * CHUNK), empty(items * CHUNK)
    source[:] = 0
    return 2 * source.nbytes / _fastest(lambda: copy_chunk(items, source, target, CHUNK))


def _fastest(run: Callable[[], None]) -> float:
    """Seconds of the fastest of several calls, after one that is not counted."""
    run()
    times = []
    for _ in range(REPEATS):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return min(times)
