"""Threads that carry out a program together, none of them waiting for one that the system has put to sleep.

A program is an array of steps (kernel, arguments, items), each ended before the next begins, the items of one in any
order.  Every thread walks through the whole program by itself:

    for each step:   while (item := taken++) < items:  run it; done++         then look on until done = items

So the steps of a whole network are one call from Python, whoever comes late takes what is left, and only an item that
somebody has begun is waited for.  (The barrier that ends an OpenMP loop waits for every thread, begun or not: one
that shares its core with another program costs the rest its time slice, loop after loop.)
"""

import os
import threading
from functools import cache
from queue import SimpleQueue

import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

from .compiled import cached, kept
from .vector import I64

KERNEL = types.void(types.int64, types.int64, types.int64)     # the address of its arguments, item, workspace
LINE = 8                                                       # integers a cache line: one for each step's counters
PATIENCE = 200_000                                             # looks at a counter before the core is offered
_yield = types.ExternalFunction("sched_yield" if os.name == "posix" else "SwitchToThread", types.int32())


@intrinsic
def _add(context, where, amount):
    """The integer at an address, before ``amount`` is added to it, all in one."""
    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], I64.as_pointer()), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _look(context, where):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], I64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def _call(context, kernel, arguments, item, work):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [I64] * 3).as_pointer()
        builder.call(builder.inttoptr(args[0], kind), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


def walk(program, counters, work):
    """One thread's part: ``program`` (steps, 3), ``counters`` (steps, LINE), both contiguous; its own workspace."""
    first = np.int64(counters.ctypes.data)
    for step in range(len(program)):
        kernel, arguments, items = program[step, 0], program[step, 1], program[step, 2]
        taken = first + step * LINE * 8
        item = _add(taken, 1)
        while item < items:
            _call(kernel, arguments, item, work)
            _add(taken + 8, 1)
            item = _add(taken, 1)
        looks = 0
        while _look(taken + 8) < items:
            looks += 1
            if looks > PATIENCE:
                _yield()


@cache
def _compiled_walk():
    return cached(njit, nogil=True, error_model="numpy")(walk)


def walk_is_kept() -> bool:
    """Whether a program has run on this machine before: what walks through it is compiled after its kernels."""
    return kept(_compiled_walk())


@cache
def kernel_at(function) -> int:
    """The address of a compiled kernel ``function(arguments, item, work)``."""
    return _entry(function).address


@cache
def _entry(function):
    return cached(cfunc, KERNEL, error_model="numpy")(function)


class Team:
    """``threads - 1`` helpers that sleep until :meth:`run` has something for them, and whoever calls it."""

    def __init__(self):
        self._jobs, self._helpers, self._process = SimpleQueue(), 0, os.getpid()

    def run(self, program, threads, work=0, work_step=0):
        """Carry out ``program``; thread k has the workspace at address ``work + k * work_step``."""
        if self._process != os.getpid():                       # after a fork the helpers are in the other process
            self.__init__()
        while self._helpers < threads - 1:
            self._helpers += 1
            threading.Thread(target=_help, args=(self._jobs,), name="npresnet", daemon=True).start()
        counters = np.zeros((len(program), LINE), np.int64)
        walk = _compiled_walk()
        for k in range(1, threads):
            self._jobs.put((program, counters, work + k * work_step))
        walk(program, counters, work)


def _help(jobs):
    """Whoever comes late to a program finds nothing left to take, and touches nothing."""
    walk = _compiled_walk()
    while True:
        walk(*jobs.get())


TEAM = Team()
