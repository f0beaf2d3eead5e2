"""How kernels are compiled: once a machine, where a place to keep the machine code can be found."""

import warnings
from functools import cache
from glob import escape, glob

from numba import njit


def parallel(function):
    """Compile for all cores, keep the machine code on disk, and let other Python threads run meanwhile.

    Where no directory can be written (see NUMBA_CACHE_DIR) the kernel is compiled again in every process.
    """
    options = {"parallel": True, "nogil": True}
    try:
        return njit(function, cache=True, **options)
    except RuntimeError:                     # "no locator available"
        _say_that_nothing_is_kept()
        return njit(function, **options)


@cache
def _say_that_nothing_is_kept():
    """Once, and not for every kernel."""
    warnings.warn("no writable directory to keep compiled kernels in, so each process compiles them anew; "
                  "set NUMBA_CACHE_DIR to one", stacklevel=3)


def kept(kernel) -> bool:
    """Whether machine code of this kernel, perhaps of an older version, lies on disk."""
    folder = kernel.stats.cache_path
    return bool(folder and glob(f"{escape(folder)}/*.{kernel.py_func.__name__}-*.nbi"))
