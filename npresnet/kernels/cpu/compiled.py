"""How kernels are compiled: once a machine, where a place to keep the machine code can be found."""

import warnings

from numba import njit


def parallel(function):
    """Compile for all cores, keep the machine code on disk, and let other Python threads run meanwhile.

    Where no directory can be written (see NUMBA_CACHE_DIR) the kernel is compiled again in every process.
    """
    options = {"parallel": True, "nogil": True}
    try:
        return njit(function, cache=True, **options)
    except RuntimeError:                     # "no locator available"
        warnings.warn("no writable directory to keep compiled kernels in, so each process compiles them anew; "
                      "set NUMBA_CACHE_DIR to one", stacklevel=2)
        return njit(function, **options)
