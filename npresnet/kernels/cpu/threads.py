"""How many threads compute."""

import math
import os
from functools import cache
from pathlib import Path

from numba import get_num_threads
from numba.core import config
from numba.np.ufunc import threading_layer

from ...backend import thread_limit

NUMBER = "NUMBA_NUM_THREADS"


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
    try:
        threading_layer()                                # raises where Numba has started no threads
    except ValueError:
        return _configured()
    return get_num_threads()


@cache
def _configured() -> int:
    return vars(config)[NUMBER] if NUMBER in os.environ else cores()


def threads_now() -> int:
    """How many threads a kernel called now may use: those of :func:`npresnet.use`, or :func:`default_threads`."""
    return thread_limit() or default_threads()
