"""How kernels are compiled: once on each machine, where there is a directory to keep the machine code in."""

import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, cast

import numpy as np
from numba import extending, njit, types
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

from ....backend import compiler
from .disk_cache import CheckedCache, warn_once

Parameters = ParamSpec("Parameters")


def intrinsic(function: Callable[Concatenate[Any, Parameters], Any]) -> Callable[Parameters, Any]:
    """Numba's decorator; its result is typed as compiled code calls it, without the first argument, the context."""
    return cast(Any, extending.intrinsic(function))


inlined = njit(inline="always", error_model="numpy")     # into the caller, before either is compiled, which saves time


NOT_FROM_PYTHON: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}    # but from compiled code


def subroutine(function: Callable[..., Any], name: str | None = None) -> Any:
    """What several kernels call, compiled by itself, once for all of them: a constant argument is a number as any.

    A function made by another function needs a ``name`` of its own, which says what makes it differ from its like.  A
    kernel's machine code on disk holds its subroutines'; of two with one name, from two processes, the linker takes
    one for both.
    """
    function.__qualname__ = name or function.__qualname__
    if "<locals>" in function.__qualname__:
        raise TypeError(f"{function.__qualname__} needs a name that tells it from what else this function makes")
    compiled = njit(error_model="numpy", **NOT_FROM_PYTHON)(function)
    template = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: template([types.unliteral(kind) for kind in args], kws)
    return compiled


@inlined
def floor_of(relu):
    """The least value a result may have: 0 where a ReLU follows, else −∞."""
    return np.float32(0) if relu else np.float32(-np.inf)


def cached(decorator: Callable[..., Any], *signatures, **options) -> Callable[[Callable[..., Any]], Any]:
    """Numba's ``decorator``, with the machine code kept on disk; compiled for ``signatures`` at once.

    Where no directory can be written (see NUMBA_CACHE_DIR) it is compiled again in every process.
    """
    def decorate(function):
        function.__qualname__ = f"{function.__name__}-{_sources()}"      # which the code is kept under
        kernel = decorator(**options)(function)
        try:
            kernel._cache = CheckedCache(function)                       # in the place of Numba's, cache=True
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            warn_once("no writable directory to keep compiled kernels in, so each process compiles them anew; "
                      "set NUMBA_CACHE_DIR to one")
        for signature in signatures:
            kernel.compile(signature)
        return kernel

    return decorate


def source_files() -> list[Path]:
    """All of ``kernels/cpu``, and ``ops``: Winograd's matrices, which stand there, are numbers in machine code."""
    here = Path(__file__).parents[1]
    return [path for folder in (here, here.parents[1] / "ops") for path in sorted(folder.rglob("*.py"))]


@cache
def _sources() -> str:
    """A digest of the sources: a kernel's machine code holds what it calls in other files, too.

    Numba itself would look for changes only in the file where the kernel stands.
    """
    return sha256(b"".join(path.read_bytes() for path in source_files())).hexdigest()[:8]


class _Events(event.Listener):
    """Tells the backend's compiler what Numba compiles; what is read from the disk is no such event."""

    def on_start(self, event):
        compiler.begin()

    def on_end(self, event):
        compiler.end()


event.register("numba:compile", _Events())


if hasattr(os, "register_at_fork"):     # a fork waits until no other thread compiles a kernel
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release,
                        after_in_child=global_compiler_lock.release)
