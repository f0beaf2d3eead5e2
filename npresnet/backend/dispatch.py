"""Which code runs an op.

Every op is written once, against the namespace ``xp`` of the arrays it is given.  An op marked
``@kernel`` may have faster equivalents, registered by :mod:`npresnet.kernels`; each of them is tied
to its reference by a test.  The kernel chosen at the forward call brings its own pullback along, so
that value and gradient always come from the same code, whichever thread runs them.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, update_wrapper
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, Signature, formatannotation, signature
from types import ModuleType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import numpy

from .arrays import Array, Pullback, array_namespace, as_array

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Faster = TypeVar("Faster", bound=Callable[..., Any])

KERNELS = {"numba": "npresnet.kernels.cpu", "cupy": "npresnet.kernels.gpu"}  # loaded when first used

_chosen: ContextVar[str | None] = ContextVar("cpu_backend", default=None)
_recorder: ContextVar[Any] = ContextVar("recorder", default=None)
_limit: ContextVar[int | None] = ContextVar("threads", default=None)


@cache
def default_backend() -> str:
    """``"numba"`` where Numba is installed and compiles, else ``"numpy"``."""
    return "numpy" if without_numba() else "numba"


def without_numba() -> str:
    """The reason why Numba cannot compile here; "" where it can."""
    numba = sys.modules.get("numba")
    if not find_spec("numba"):
        return "numba is not installed (pip install numba)"
    disabled = numba.config.DISABLE_JIT if numba else os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
    return "NUMBA_DISABLE_JIT keeps numba from compiling" if disabled else ""


def backend_of(x: Array) -> str:
    """``"cupy"`` for a GPU array; for a CPU array the backend chosen by :func:`use`."""
    return "cupy" if array_namespace(x) is not numpy else _chosen.get() or default_backend()


@contextmanager
def use(backend: str, threads: int | None = None) -> Iterator[None]:
    """Run CPU arrays through ``backend``: ``"numpy"`` (the reference) or ``"numba"`` (the default).

    ``threads`` is how many threads a kernel of Numba's may use inside this context; None leaves it at all cores, or at
    what a ``use()`` around this one says.  The results are the same bits for any number.
    """
    if backend not in ("numpy", "numba"):
        raise ValueError(f"use() takes 'numpy' or 'numba', not {backend!r}; GPU arrays choose cupy by themselves")
    if backend == "numba" and (reason := without_numba()):
        raise ImportError(reason)
    if threads is not None and threads < 1:
        raise ValueError(f"threads is how many may work at once, or None for all cores, not {threads}")
    token, limit = _chosen.set(backend), _limit.set(threads or _limit.get())
    try:
        yield
    finally:
        _chosen.reset(token)
        _limit.reset(limit)


def thread_limit() -> int | None:
    """How many threads :func:`use` allows; None where it says nothing."""
    return _limit.get()


class NotRecordable(Exception):
    """Something in a function that is being recorded is no kernel's work, see :class:`.recorded.Recorded`."""


def recordings() -> ModuleType:
    """The module that records the launches of Numba's kernels: npresnet.kernels.cpu.program.recording."""
    return import_module(f"{KERNELS['numba']}.program.recording")


def recorder() -> Any:
    """What records the launches of kernels in this context; None nearly always."""
    return _recorder.get()


@contextmanager
def recording(recorder: Any) -> Iterator[None]:
    """Inside this context ``recorder`` notes the launches of kernels, and nothing else may compute."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


def must_run_each_time(what: str) -> None:
    """Raise :class:`NotRecordable` where launches are recorded: ``what`` would not be computed again."""
    if _recorder.get() is not None:
        raise NotRecordable(what)


def between_launches(function: Callable[[], Any]) -> None:
    """``function()``, which may read and write what kernels do; of a recording it is a part, and is called again."""
    function()
    if (notes := _recorder.get()) is not None:
        notes.add_call(function)


@cache
def load_kernels(backend: str) -> ModuleType | None:
    """Import the kernels of ``backend``, which register themselves; None where it has none."""
    return import_module(KERNELS[backend]) if backend in KERNELS and find_spec(KERNELS[backend]) else None


def release() -> None:
    """Give back the memory that is kept for the next arrays: the kernels' blocks, and CuPy's pools.

    On a CPU it goes back by itself after some seconds without a kernel.
    """
    if arrays := sys.modules.get(f"{KERNELS['numba']}.arrays"):
        arrays.release_idle()
    if cupy := sys.modules.get("cupy"):
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


class Kernel(Generic[Arguments, Result]):
    """A reference function, plus faster equivalents keyed by the name of their backend."""

    __name__: str
    __doc__: str | None
    __signature__: Signature

    def __init__(self, reference: Callable[Concatenate[Array, Arguments], Result]):
        update_wrapper(self, reference)
        self.reference = reference
        self.faster: dict[str, Callable[..., Any]] = {}
        self.supports: dict[str, Callable[..., bool]] = {}
        self.__signature__ = readable(signature(reference))
        parameters = self.__signature__.parameters.values()
        self.positional = tuple(p.name for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD)

    def __get__(self, instance: Any, owner: type | None = None) -> "Kernel[Arguments, Result]":
        """Itself, of whatever it is an attribute; as it has a ``__get__``, ``help()`` shows it as a function."""
        return self

    def __repr__(self) -> str:
        given = [p.replace(annotation=Parameter.empty) for p in self.__signature__.parameters.values()]
        return f"<{type(self).__name__.lower()} {self.__name__}{Signature(given)}>"

    def register(
        self, backend: str, supports: Callable[..., bool] = lambda *args, **kwargs: True
    ) -> Callable[[Faster], Faster]:
        """Decorate the function that runs for arrays of ``backend``.

        ``supports`` is called with the arguments of each call; where it returns False, the reference runs.
        """

        def decorate(function: Faster) -> Faster:
            self.faster[backend], self.supports[backend] = function, supports
            return function

        return decorate

    def has_faster(self, x: Array) -> bool:
        """Whether a kernel may run for arrays of x's backend and dtype; on a CPU all are for float32."""
        backend = backend_of(x)
        load_kernels(backend)
        return backend in self.faster and (backend == "cupy" or getattr(x, "dtype", None) == numpy.float32)

    def run_on(self, backend: str, x: Array, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """The result of the function for ``backend``, or of the reference, unchecked."""
        supported = backend in self.faster and self.supports[backend](x, *args, **kwargs)
        if not supported:
            must_run_each_time(self.__name__)
        return (self.faster[backend] if supported else self.reference)(x, *args, **kwargs)

    def __call__(self, x: Array, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        backend = backend_of(x)
        if backend != "numpy":
            load_kernels(backend)
        result = self.run_on(backend, x, *args, **kwargs)
        if isinstance(result, tuple) and callable(result[1]):
            y, pullback, *more = result
            return cast(Any, (y, check_cotangent(y, pullback, self.positional), *more))
        return cast(Any, result)


class Unquoted(str):
    """A text that is shown without quotation marks, as annotations are."""

    __repr__ = str.__str__


def readable(found: Signature) -> Signature:
    """The same signature, its annotations as texts that a reader knows: Array, not numpy.ndarray[tuple[Any, …], …]."""

    def short(annotation: Any) -> Any:
        if annotation is Parameter.empty:
            return annotation
        text = formatannotation(annotation).replace(formatannotation(Array), "Array")
        text = text.replace(formatannotation(Pullback), "Pullback")
        return Unquoted(text.replace("collections.abc.", "").replace("typing.", ""))

    parameters = [p.replace(annotation=short(p.annotation)) for p in found.parameters.values()]
    return found.replace(parameters=parameters, return_annotation=short(found.return_annotation))


def check_cotangent(y: Any, pullback: Pullback, arguments: Sequence[str] = ()) -> Pullback:
    """``pullback``, made to refuse a dy that has not y's shape, dtype and device, and a ``skip`` not in ``arguments``.

    (NumPy would broadcast another dy, and a kernel would read past its end.)
    """
    shape, dtype, xp = y.shape, y.dtype, array_namespace(y)

    def checked(dy, *skips, **skip):
        dy = as_array(dy, "dy")
        if getattr(dy, "shape", None) != shape:
            raise ValueError(f"dy must have the shape of y, {shape}, not {getattr(dy, 'shape', type(dy).__name__)}")
        if dy.dtype != dtype:
            raise TypeError(f"dy must be {dtype}, as y is, not {dy.dtype}; convert it with dy.astype(y.dtype)")
        if array_namespace(dy) is not xp:
            raise TypeError("dy and y live on different devices; move dy with to_device()")
        for names in (*skips, *skip.values()):
            check_skip(names, arguments)
        return pullback(dy, *skips, **skip)

    def scaled(*dloss):  # a loss, whose dy is a number
        dloss = [as_array(d, "the dy of a loss") for d in dloss]
        if any(not isinstance(d, int | float) and getattr(d, "shape", None) != () for d in dloss):
            raise TypeError(f"the dy of a loss must be a number, not a {type(dloss[0]).__name__}")
        return pullback(*dloss)

    return checked if shape else scaled


def check_skip(names: Collection[str], arguments: Sequence[str]) -> None:
    """Raise unless ``names`` is a collection of some of the ``arguments``."""
    if isinstance(names, str) or not isinstance(names, Collection):
        raise TypeError(f"skip must be a set of names such as {{{arguments[0]!r}}}, not a {type(names).__name__}")
    unknown = sorted(map(str, set(names).difference(arguments)))
    if unknown:
        raise ValueError(f"skip must name arguments among {', '.join(arguments)}, not {', '.join(unknown)}")
