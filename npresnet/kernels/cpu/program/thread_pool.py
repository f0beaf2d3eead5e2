"""A thread pool whose threads run a program together; none waits for a thread that the system has put to sleep.

A program is an array of steps (kernel, how many arguments, where they lie, work items), each ended before the next
begins, the items of one in any order.  Every thread walks through the whole program by itself:

    for each step:   while (item := taken++) < items:  run it; done++         then spin until done = items

So the steps of a whole network are one call from Python, a thread that starts late takes what is left, and only items
that have begun are waited for.  (The barrier that ends an OpenMP loop waits for every thread, begun or not: one that
shares its core with another program costs the rest its time slice, loop after loop.)

A worker that has ended a job looks for the next one for a moment, about as long as Python takes from one kernel of a
training step to the next, then it sleeps: what is idle uses no processor.
"""

import os
import threading
from functools import cache
from queue import SimpleQueue
from typing import Any

import numpy as np
from numba import njit, types

from ....backend import Array
from ..arrays import addresses
from ..codegen.disk_cache import is_cached
from ..codegen.jit import cached, intrinsic
from ..codegen.vector import I64, Emit, address, hold

MOST = 40                                                      # arguments of a kernel
LINE = 8                                                       # integers a cache line: one for each step's counters
TAKEN, DONE, FAILED = 0, 8, 16                                 # bytes into it; one FAILED, in the first, serves all
SPINS = 200_000                                                # reads of a counter before the core is yielded
REST = 200_000                                                 # and before a worker without a job sleeps
_yield = types.ExternalFunction("sched_yield" if os.name == "posix" else "SwitchToThread", types.int32())


@intrinsic
def _fetch_add(context, where, amount):
    """The integer at an address, before ``amount`` is added to it, atomically."""
    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], I64.as_pointer()), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _atomic_load(context, where):
    """The integer at an address, read atomically."""
    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], I64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def call(context, kernel, count, arguments, item, work, failed):
    """Run an item of the kernel at an address, whose ``count`` arguments lie at another.

    An error in it writes 1 at the address ``failed``, unless that is 0, and is raised in the caller.
    """
    def codegen(context, builder, signature, args):
        kernel, count, arguments, item, work, failed = args
        calls, done = context.call_conv, builder.append_basic_block("called")
        switch = builder.switch(count, done)
        for n in range(MOST + 1):
            switch.add_case(I64(n), block := builder.append_basic_block())
            builder.position_at_end(block)
            values = [item, work, *(Emit(builder).load_i64(arguments, 8 * k) for k in range(n))]
            kinds = [types.int64] * len(values)
            function = builder.inttoptr(kernel, calls.get_function_type(types.none, kinds).as_pointer())
            status, _ = calls.call_function(builder, function, types.none, kinds, values)
            with builder.if_then(status.is_error, likely=False):
                with builder.if_then(builder.icmp_signed("!=", failed, I64(0))):
                    builder.store_atomic(I64(1), builder.inttoptr(failed, I64.as_pointer()), "seq_cst", 8)
                calls.return_status_propagate(builder, status)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


def walk(program, counters, work):
    """One thread's part: ``program`` (steps, 4), ``counters`` (steps, LINE), both contiguous; its own workspace.

    Returns whether an item has failed in another thread; an error in an item of this one is raised.
    """
    first = address(counters)
    for step in range(len(program)):
        kernel, count, arguments, items = program[step]
        at = first + step * LINE * 8
        item = _fetch_add(at + TAKEN, 1)
        while item < items:
            call(kernel, count, arguments, item, work, first + FAILED)
            _fetch_add(at + DONE, 1)
            item = _fetch_add(at + TAKEN, 1)
        spins = 0
        while _atomic_load(at + DONE) < items and not _atomic_load(first + FAILED):
            spins += 1
            if spins > SPINS:
                _yield()
        if _atomic_load(first + FAILED):
            break
    failed = _atomic_load(first + FAILED) != 0
    hold(counters)
    return failed


@cache
def _compiled_walk():
    return cached(njit, nogil=True, error_model="numpy")(walk)


def wait_for_change(where, seen):
    """Return once the integer at an address is not ``seen``, or soon."""
    spins = 0
    while _atomic_load(where) == seen and spins < REST:
        spins += 1


@cache
def _compiled_wait():
    return cached(njit, types.void(types.int64, types.int64), nogil=True, error_model="numpy")(wait_for_change)


def walk_is_cached() -> bool:
    """Whether a program has run on this machine before: :func:`walk` is compiled after the kernels."""
    return is_cached(_compiled_walk())


class ThreadPool:
    """Worker threads, which sleep until :meth:`run` has a job for them; the calling thread works beside them.

    Any number of threads may call :meth:`run` at a time.
    """

    def __init__(self):
        self._jobs, self._workers, self._posted = SimpleQueue(), [], np.zeros(LINE, np.int64)

    def run(self, program: Array, threads: int, work: int = 0, work_step: int = 0, memory: Any = None) -> None:
        """Run ``program``; thread k has the workspace at address ``work + k * work_step``.

        An error in any item is raised here.  After an error, or where a signal ends this call, workers may still be
        running the program: they hold a reference to ``memory``, all that its addresses lead to, and it must not be
        used again.
        """
        counters, errors = np.zeros((len(program), LINE), np.int64), SimpleQueue()
        walk, job = _compiled_walk(), [program, counters, errors, memory]
        for k in range(1, 1 + self._start_workers(threads - 1)):
            self._jobs.put((job, work + k * work_step))
        self._posted[0] += 1
        try:
            failed = walk(program, counters, work)
        finally:
            job.clear()                                        # a worker that comes late keeps none of its memory
        if failed:
            raise errors.get()                                 # put there by the thread that failed, or about to be

    def _start_workers(self, wanted) -> int:
        """How many of the ``wanted`` workers there are: where the system allows no more threads, fewer do the same."""
        while len(self._workers) < wanted:
            worker = threading.Thread(target=_run_jobs, args=(self._jobs, self._posted), name="npresnet", daemon=True)
            try:
                worker.start()
            except RuntimeError:
                break
            self._workers.append(worker)
        return min(wanted, len(self._workers))


def _run_jobs(jobs, posted):
    seen, wait, (at,) = -1, _compiled_wait(), addresses([posted])
    while True:
        wait(at, seen)
        seen = posted[0]
        run_job(*jobs.get())                                   # while it waits, it holds no job's memory


def run_job(job: list[Any], work: int) -> None:
    """A worker's part of a job.  One that starts late finds it empty, or no item left to take, and touches nothing."""
    if not (parts := tuple(job)):
        return
    program, counters, errors, _memory = parts
    try:
        _compiled_walk()(program, counters, work)
    except BaseException as error:
        errors.put(error)


POOL = ThreadPool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.__init__)          # the workers are in the other process
