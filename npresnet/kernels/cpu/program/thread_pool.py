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
from numba import njit, types
from numba.extending import intrinsic

from ..codegen.disk_cache import kept
from ..codegen.jit import cached
from ..codegen.vector import I64, address, hold

KERNEL = types.void(types.int64, types.int64, types.int64)     # the address of its arguments, item, workspace
LINE = 8                                                       # integers a cache line: one for each step's counters
TAKEN, DONE, FAILED = 0, 8, 16                                 # bytes into it; one FAILED, in the first, serves all
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
def _call(context, kernel, arguments, item, work, failed):
    """Run an item; an error in it writes 1 at the address ``failed``, and leaves the caller as it left the kernel."""
    def codegen(context, builder, signature, args):
        calls, kinds = context.call_conv, KERNEL.args
        kernel = builder.inttoptr(args[0], calls.get_function_type(types.none, kinds).as_pointer())
        status, _ = calls.call_function(builder, kernel, types.none, kinds, args[1:4])
        with builder.if_then(status.is_error, likely=False):
            builder.store_atomic(I64(1), builder.inttoptr(args[4], I64.as_pointer()), "seq_cst", 8)
            calls.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


def walk(program, counters, work):
    """One thread's part: ``program`` (steps, 3), ``counters`` (steps, LINE), both contiguous; its own workspace.

    Whether an item has failed in another thread; an error in one of its own is raised.
    """
    first = address(counters)
    for step in range(len(program)):
        kernel, arguments, items = program[step, 0], program[step, 1], program[step, 2]
        at = first + step * LINE * 8
        item = _add(at + TAKEN, 1)
        while item < items:
            _call(kernel, arguments, item, work, first + FAILED)
            _add(at + DONE, 1)
            item = _add(at + TAKEN, 1)
        looks = 0
        while _look(at + DONE) < items and not _look(first + FAILED):
            looks += 1
            if looks > PATIENCE:
                _yield()
        if _look(first + FAILED):
            break
    failed = _look(first + FAILED) != 0
    hold(counters)
    return failed


@cache
def _compiled_walk():
    return cached(njit, nogil=True, error_model="numpy")(walk)


def walk_is_kept() -> bool:
    """Whether a program has run on this machine before: what walks through it is compiled after its kernels."""
    return kept(_compiled_walk())


@cache
def kernel_at(function) -> int:
    """The address of a compiled kernel ``function(arguments, item, work)``, in Numba's own convention for calls.

    (That of C, ``cfunc``'s, has no place for errors: they would be printed, and the item taken for done.)
    """
    entry = cached(njit, KERNEL, error_model="numpy")(function).overloads[KERNEL.args]
    return entry.library.get_pointer_to_function(entry.fndesc.llvm_func_name)


class Team:
    """Helpers that sleep until :meth:`run` has something for them, and whoever calls it."""

    def __init__(self):
        self._jobs, self._helpers = SimpleQueue(), []

    def run(self, program, threads, work=0, work_step=0, memory=None):
        """Carry out ``program``; thread k has the workspace at address ``work + k * work_step``.

        An error in any item is raised here.  After an error, or where a signal ends this call, other threads may be at
        work on the program still: they keep hold of ``memory``, all that its addresses lead to, and nobody else may
        use it again.
        """
        counters, errors = np.zeros((len(program), LINE), np.int64), SimpleQueue()
        walk = _compiled_walk()
        for k in range(1, 1 + self._hire(threads - 1)):
            self._jobs.put((program, counters, work + k * work_step, errors, memory))
        if walk(program, counters, work):
            raise errors.get()                                 # put there by whoever failed, or about to be

    def _hire(self, wanted) -> int:
        """How many of the ``wanted`` helpers there are: where the system allows no more threads, fewer do the same."""
        while len(self._helpers) < wanted:
            helper = threading.Thread(target=_help, args=(self._jobs,), name="npresnet", daemon=True)
            try:
                helper.start()
            except RuntimeError:
                break
            self._helpers.append(helper)
        return min(wanted, len(self._helpers))


def _help(jobs):
    while True:
        carry_out(*jobs.get())                                 # while it waits, it keeps no job's memory


def carry_out(program, counters, work, errors, memory):
    """A helper's part of a job.  Whoever comes late finds nothing left to take, and touches nothing."""
    try:
        _compiled_walk()(program, counters, work)
    except BaseException as error:
        errors.put(error)


TEAM = Team()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TEAM.__init__)          # the helpers are in the other process
