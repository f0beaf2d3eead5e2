"""The process that compiles beside this one: what it leaves on disk, and when there is none."""

import os
import subprocess
import sys

import numpy as np
import pytest

from npresnet import create_model
from npresnet.kernels.cpu import pullbacks
from npresnet.kernels.cpu.program import beside
from npresnet.kernels.cpu.program.entry_point import Launch

FEW = """
import time
from npresnet.backend import compiler
from npresnet.kernels.cpu import pullbacks
from npresnet.kernels.cpu.program.beside import compile_beside
few = [kernel for kernel in pullbacks.KERNELS if kernel.__name__ in {names}]
compile_beside(few)
until = time.monotonic() + 120
while not all(kernel.is_cached() for kernel in few) and time.monotonic() < until:
    time.sleep(0.1)
print(*(kernel.__name__ for kernel in few if kernel.is_cached()), compiler.seconds)
"""
NAMES = ["spread_mean", "unpack_gradient", "spread_pixels", "add_parts"]  # in the table's order


def test_the_other_process_leaves_machine_code_for_this_one(tmp_path):
    code, place = FEW.format(names=NAMES), {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | place)
    assert (done.stdout, done.stderr) == (f"{' '.join(NAMES)} 0.0\n", "")


class Kernel:
    __module__, __name__ = "nowhere", "kernel"
    is_loaded = False

    def __init__(self, cached=False, kept=True):
        self.is_cached, self.can_be_kept = lambda: cached, lambda: kept


@pytest.mark.parametrize(
    "kernels, threads, executable, begins",
    [
        ([Kernel()] * 4, 2, "python", True),
        ([Kernel()] * 3, 2, "python", False),
        ([Kernel()] * 3 + [Kernel(cached=True)] * 9, 2, "python", False),
        ([Kernel(kept=False)] * 9, 2, "python", False),
        ([Kernel()] * 9, 1, "python", False),
        ([Kernel()] * 9, 2, None, False),
    ],
)
def test_it_begins_only_where_it_pays(kernels, threads, executable, begins, monkeypatch):
    begun = []

    def popen(arguments, **options):
        begun.append(arguments)
        raise OSError("no more processes")

    monkeypatch.setattr(beside, "threads_now", lambda: threads)
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(beside.subprocess, "Popen", popen)
    beside.compile_beside(kernels)
    assert bool(begun) == begins
    assert not begun or begun[0][3:] == ["nowhere:kernel"] * 4


def test_what_is_in_this_process_is_not_looked_for_on_disk():
    loaded = Kernel()
    loaded.is_loaded, loaded.is_cached = True, lambda: pytest.fail("looked for")
    beside.compile_beside([loaded] * 9)


def test_the_table_has_what_only_pullbacks_launch(monkeypatch):
    launched, forward, row = set(), set(), Launch.row
    monkeypatch.setattr(Launch, "row", lambda self: launched.add(self.kernel) or row(self))
    for name, side in (("resnet20", 32), ("resnet18", 64), ("resnet50", 64)):
        x, before = np.random.default_rng(0).standard_normal((4, 3, side, side), np.float32), set(launched)
        launched.clear()
        y, pullback = create_model(name).train().logits_vjp(x, input_grad=False)
        forward |= launched
        pullback(np.ones_like(y))
        launched |= before
    assert launched - forward == set(pullbacks.KERNELS)
