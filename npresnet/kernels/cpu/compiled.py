"""How kernels are compiled: once a machine, where a place to keep the machine code can be found."""

import warnings
from functools import cache, wraps
from glob import escape, glob
from hashlib import sha256
from pathlib import Path

from numba import njit

from .memory import addresses


def parallel(function):
    """Compile for all cores, and let other Python threads run meanwhile.

    The kernel is called with arrays and gets their addresses; ``arguments`` holds the arrays until it has returned.
    """
    kernel = cached(njit, parallel=True, nogil=True)(function)

    @wraps(function)
    def call(*arguments):
        return kernel(*addresses(arguments))

    return call


inlined = njit(inline="always")     # into the caller, before either is compiled: each level of calls costs compile time


def cached(decorator, *arguments, **options):
    """Numba's ``decorator``, with the machine code kept on disk.

    Where no directory can be written (see NUMBA_CACHE_DIR) it is compiled again in every process.
    """
    def decorate(function):
        function.__qualname__ = f"{function.__name__}-{_sources()}"      # which the code is kept under
        try:
            return decorator(*arguments, cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _say_that_nothing_is_kept()
            return decorator(*arguments, **options)(function)

    return decorate


@cache
def _sources() -> str:
    """A digest of this folder: a kernel's machine code holds what it calls in other files, too.

    Numba itself would look for changes only in the file where the kernel stands.
    """
    return sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:8]


@cache
def _say_that_nothing_is_kept():
    """Once, and not for every kernel."""
    warnings.warn("no writable directory to keep compiled kernels in, so each process compiles them anew; "
                  "set NUMBA_CACHE_DIR to one", stacklevel=4)


def kept(kernel) -> bool:
    """Whether machine code of this kernel lies on disk."""
    folder = kernel.stats.cache_path
    return bool(folder and glob(f"{escape(folder)}/*.{kernel.py_func.__qualname__}-*.nbi"))
