"""How many threads compute, and how Numba's wait: decided before Numba is imported and starts its threads."""

import math
import os
import sys
from importlib import import_module
from pathlib import Path

NUMBER = "NUMBA_NUM_THREADS"
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "30000"}    # GNU's turns of the loop: about 0.3 ms


def cores(root: Path = Path("/")) -> int:
    """Cores this process may run on, or what its quota comes to where that is less."""
    return math.ceil(min([_affinity(), *_quotas(root)]))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root):
    """Cores' worth of time in each period that Linux allows this process's control groups and those around them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = top / path.lstrip("/")
        while True:                                      # a container may see its own group as the topmost one
            yield from _allowed(group)
            if group == top:
                break
            group = group.parent


def _allowed(group):
    """Version 2 of control groups has one file for both numbers, version 1 one for each."""
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((group / file).read_text() for file in files).split()
            if quota != "max" and int(quota) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue


def default_threads() -> int:
    """What NUMBA_NUM_THREADS or ``numba.set_num_threads`` say, or the number of :func:`cores`."""
    import numba
    if layer():
        return numba.get_num_threads()
    from numba.core import config
    return getattr(config, NUMBER) if NUMBER in os.environ else cores()      # an attribute that Numba sets as it runs


def layer() -> str:
    """Numba's threading layer once its threads have started, else "": asking for their number would start them."""
    from numba.np.ufunc import threading_layer
    try:
        return threading_layer()
    except ValueError:
        return ""


def prepare() -> None:
    """Tell Numba about a quota, and OpenMP to let a waiting thread sleep soon, where the user has set neither.

    A thread that spins while it waits takes the time of the one waited for when another program wants the core, too:
    with GNU's 300,000 turns a training step beside busy processes takes several times as long.  One that sleeps at once
    is woken late, at every kernel.  The policy is read when the library is loaded; copies loaded later keep their own.
    """
    if "numba" not in sys.modules and NUMBER not in os.environ and cores() < _affinity():
        os.environ[NUMBER] = str(cores())
    if not any(name in os.environ for name in (*WAITING, "KMP_BLOCKTIME")):
        os.environ.update(WAITING)
        try:
            import_module("numba.np.ufunc.omppool")
        except ImportError:                              # Numba was built without
            pass
        finally:
            for name in WAITING:
                del os.environ[name]
