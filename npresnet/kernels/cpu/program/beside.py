"""A second process that compiles beside this one, where the machine code is on disk for neither yet.

A compiler in one process keeps one core busy.  This one compiles kernels in the order in which they are used, the other
those that come last, first; each looks on the disk before, and they meet in the middle.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from threading import Thread

from ..threads import threads_now
from .entry_point import EntryPoint

PAYS = 4                 # kernels to compile: another process takes a second to start


def compile_beside(kernels: Iterable[EntryPoint]) -> None:
    """Begin to compile those of the kernels that have not been, and return at once; ``kernels`` in order of use."""
    missing = [kernel for kernel in kernels if not (kernel.is_loaded or kernel.is_cached())]
    if len(missing) < PAYS or threads_now() < 2 or not missing[0].can_be_kept() or not sys.executable:
        return
    names = [f"{kernel.__module__}:{kernel.__name__}" for kernel in reversed(missing)]
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        process = subprocess.Popen([sys.executable, "-m", __name__, *names], env=os.environ | {"PYTHONPATH": paths},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:      # without it, this process compiles them all
        return
    Thread(target=process.wait, daemon=True).start()


if __name__ == "__main__":
    for module, _, name in (argument.partition(":") for argument in sys.argv[1:]):
        getattr(import_module(module), name).address  # noqa: B018
