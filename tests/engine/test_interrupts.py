"""A call of the engine that is cut short, at whatever moment, does no harm to those after it."""

import os
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import nn, optimize
from npresnet.engine.cpu import engine as module
from npresnet.kernels.cpu.program import thread_pool
from npresnet.kernels.cpu.program.entry_point import entry_point

from .test_engine import filled, images


class Late:
    """A queue whose helpers come as late as can be: when :meth:`work` is called."""

    def __init__(self):
        self.jobs = []

    def put(self, job):
        self.jobs.append(job)

    def work(self):
        while self.jobs:
            thread_pool.run_job(*self.jobs.pop(0))


@pytest.fixture
def late(monkeypatch):
    """A thread pool with one worker, who is late."""
    jobs, one = Late(), thread_pool.ThreadPool()
    one._jobs, one._workers = jobs, [None]
    monkeypatch.setattr("npresnet.engine.cpu.program.POOL", one)
    return jobs


def small():
    """Kernels, and a step without one between two of them."""
    return filled(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.AvgPool2d(2, 2), nn.Conv2d(16, 16, 1), nn.ReLU()))


class Interrupt:
    """Raises KeyboardInterrupt before the ``at``-th bytecode that runs in the engine, as a signal's handler may.

    The lock's ``with`` is left out: CPython handles no signal between its being taken and its being held.
    """

    INSIDE = {
        "run",
        "_run_part",
        "plan_for",
        "make_plan",
        "_start_workers",
        "grown",
        "fits",
        "__init__",
        "_launches",
        "_row",
        "compute",
        "where",
        "arguments",
        "flatten",
    }

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        if frame.f_code.co_name not in self.INSIDE or "npresnet" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def interrupted(engine, x, at) -> bool:
    """Whether the call was still running at bytecode ``at``."""
    before = sys.gettrace()
    sys.settrace(Interrupt(at))
    try:
        engine(x)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_before_any_bytecode_leaves_nobody_writing_to_memory_in_use(late):
    engine, x, other = optimize(small(), threads=2), images(2, 8, 8), images(2, 8, 8, seed=2)
    wanted, at = engine(other), 0
    late.work()
    while interrupted(engine, x, at):
        abandoned, late.jobs = late.jobs, []
        np.testing.assert_array_equal(engine(other), wanted)
        late.work()
        arrays, late.jobs = [*engine._buffers._arrays, engine.plan.program.numbers], abandoned
        for array in arrays[:2]:
            array[:] = 255
        before = [array.copy() for array in arrays]
        late.work()  # the rest of the interrupted program
        for array, kept in zip(arrays, before):
            np.testing.assert_array_equal(array, kept, str(at))
        at += 1
    assert at > 200  # bytecodes
    np.testing.assert_array_equal(engine(other), wanted)


def test_an_interrupted_call_keeps_its_memory_while_a_helper_may_use_it(late):
    import gc
    import weakref

    engine, x, at = optimize(small(), threads=2), images(2, 8, 8).copy(), 0
    engine(x)
    late.jobs.clear()
    while not late.jobs:  # the first job given out: nobody has begun
        interrupted(engine, x, at)
        at += 1
    arrays = [weakref.ref(x)]
    del engine, x
    gc.collect()
    assert all(array() is not None for array in arrays)
    late.work()
    gc.collect()
    assert all(array() is None for array in arrays)  # and no longer


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_real_interrupts_leave_the_next_answers_right(threads):
    engine, batches = optimize(small(), threads=threads), [images(4, 48, 48, seed=k) for k in range(4)]
    wanted = [engine(x) for x in batches]
    for at in range(0, 150, 3):
        interrupted(engine, batches[at % 4], at)
        for x, y in zip(batches, wanted):
            np.testing.assert_array_equal(engine(x), y)


@entry_point
def broken(item, work):
    if item == 5:
        raise ValueError("the fifth item")


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_an_error_in_any_item_ends_the_call(threads):
    rows = np.array([[broken.address, 0, 0, items] for items in (3, 5, 9, 4)])
    for _ in range(20):
        with pytest.raises(ValueError, match="the fifth item"):
            thread_pool.POOL.run(rows, threads)
    thread_pool.POOL.run(rows[:2], threads)  # whose items are less than five


def test_an_error_in_a_helper_ends_the_call(late, monkeypatch):
    """The caller waits for an item that a helper has begun, and learns there that it will not be done."""
    rows, one = np.array([[broken.address, 0, 0, 9]]), thread_pool.ThreadPool()
    one._jobs, one._workers = late, [None]
    walk, calls = thread_pool._compiled_walk(), []

    def slow(program, counters, work):
        if not calls:  # the caller, overtaken by the helper
            calls.append(counters)
            late.work()
        return walk(program, counters, work)

    monkeypatch.setattr(thread_pool, "_compiled_walk", lambda: slow)
    with pytest.raises(ValueError, match="the fifth item"):
        one.run(rows, 2)
    assert len(calls) == 1


def test_after_an_error_the_buffers_are_not_used_again(monkeypatch):
    engine, x = optimize(small(), threads=2), images(2, 8, 8)
    wanted, buffers = engine(x), engine._buffers
    monkeypatch.setattr(thread_pool.ThreadPool, "run", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        engine(x)
    monkeypatch.undo()
    np.testing.assert_array_equal(engine(x), wanted)
    assert engine._buffers is not buffers


def test_where_no_thread_can_be_started_fewer_do_the_same(monkeypatch):
    one, engine, x = thread_pool.ThreadPool(), optimize(small(), threads=4), images(2, 8, 8)
    wanted = engine(x)
    monkeypatch.setattr("npresnet.engine.cpu.program.POOL", one)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            np.testing.assert_array_equal(engine(x), wanted)
        assert not one._workers and one._jobs.empty()  # nothing waits for those who are not there
    np.testing.assert_array_equal(engine(x), wanted)
    assert len(one._workers) == 3


def test_a_signals_handler_may_call_the_engine_that_it_interrupts(monkeypatch):
    engine, x, other = optimize(small(), threads=2), images(2, 8, 8), images(2, 8, 8, seed=2)
    wanted, inner, run, found = engine(x), engine(other), thread_pool.ThreadPool.run, []

    def interrupted_run(*arguments):
        monkeypatch.undo()
        found.append(engine(other))
        return run(*arguments)

    monkeypatch.setattr(thread_pool.ThreadPool, "run", interrupted_run)
    np.testing.assert_array_equal(engine(x), wanted)
    np.testing.assert_array_equal(found, [inner])


def wait(child, seconds=30):
    """The child's exit status; one that hangs is ended, and None."""
    for _ in range(int(seconds / 0.02)):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_the_middle_of_another_threads_call():
    engine, x = optimize(small(), threads=2), images(2, 8, 8)
    wanted, buffers = engine(x), engine._buffers
    inside, leave = threading.Event(), threading.Event()

    def call():  # by a thread that is not there in the child
        with engine.lock:
            engine._buffers = None
            inside.set()
            leave.wait(60)
            engine._buffers = buffers

    thread = threading.Thread(target=call)
    thread.start()
    inside.wait(60)
    child = os.fork()
    if child == 0:
        answers = [engine(x) for _ in range(3)]
        os._exit(not all(np.array_equal(y, wanted) for y in answers) or len(thread_pool.POOL._workers) != 1)
    assert wait(child) == 0
    leave.set()
    thread.join()
    np.testing.assert_array_equal(engine(x), wanted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_waits_for_a_kernel_that_another_thread_compiles():
    from numba.core.compiler_lock import global_compiler_lock

    held, release = threading.Event(), threading.Event()

    def compile_something():
        with global_compiler_lock:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=compile_something)
    thread.start()
    held.wait(30)
    threading.Timer(0.1, release.set).start()
    child = os.fork()
    if child == 0:
        os._exit(not global_compiler_lock._lock.acquire(timeout=5))
    thread.join()
    assert wait(child) == 0


def test_the_plans_of_the_sizes_last_used_are_kept(monkeypatch):
    monkeypatch.setattr(module.CpuEngine, "KEPT", 3)
    engine = optimize(small())
    for size in (4, 5, 6, 4, 7, 8):
        y = engine(images(1, size, size))
    assert [shape[2] for shape in engine.plans] == [4, 7, 8]
    assert engine.plan is engine.plans[1, 3, 8, 8] and y.shape[2] == 4
