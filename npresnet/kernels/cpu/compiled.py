"""How kernels are compiled: once a machine, where a place to keep the machine code can be found."""

import warnings
from functools import cache
from glob import escape, glob

from numba import njit


def parallel(function):
    """Compile for all cores, and let other Python threads run meanwhile."""
    return cached(njit, parallel=True, nogil=True)(function)


inlined = njit(inline="always")     # into the caller, before either is compiled: each level of calls costs compile time


def cached(decorator, *arguments, **options):
    """Numba's ``decorator``, with the machine code kept on disk.

    Where no directory can be written (see NUMBA_CACHE_DIR) it is compiled again in every process.
    """
    def decorate(function):
        try:
            return decorator(*arguments, cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _say_that_nothing_is_kept()
            return decorator(*arguments, **options)(function)

    return decorate


@cache
def _say_that_nothing_is_kept():
    """Once, and not for every kernel."""
    warnings.warn("no writable directory to keep compiled kernels in, so each process compiles them anew; "
                  "set NUMBA_CACHE_DIR to one", stacklevel=4)


def kept(kernel) -> bool:
    """Whether machine code of this kernel, perhaps of an older version, lies on disk."""
    folder = kernel.stats.cache_path
    return bool(folder and glob(f"{escape(folder)}/*.{kernel.py_func.__name__}-*.nbi"))
