"""Entry points: kernels that the thread pool runs, an item of their work at a time.

    @entry_point
    def scale(item, work, x: Address, shape: Shape, factors: Address):
        ...

    scale(items, x, x.shape, factors)                             # every item, on all threads; x as an array
    run(scale.launch(items, …), shift.launch(items, …))           # one after the other, in one call of the pool

``item`` is the number of the work item, ``work`` the address of ``work_bytes`` bytes of the thread's own.  The other
arguments reach compiled code as integers in a row, an array as its address: one annotated as a tuple of so many
integers takes so many places, any other takes one.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from inspect import signature
from itertools import count
from typing import Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
from numba import njit, types

from ....backend import recorder
from ..arrays import LINE, addresses, empty
from ..codegen.disk_cache import is_cached
from ..codegen.jit import cached, intrinsic
from ..codegen.vector import Emit
from ..threads import threads_now
from .thread_pool import KERNEL, POOL

Address: TypeAlias = int                                  # given as an array, or None: 0
Pair: TypeAlias = tuple[int, int]                         # vertical, horizontal
Shape: TypeAlias = tuple[int, int, int, int]              # images, height, width, channels
Strides: TypeAlias = tuple[int, int, int, int]            # bytes from image to image, channel, row, column
Sides: TypeAlias = tuple[int, int, int, int, int, int, int, int]    # kernel, stride, dilation, padding (top, left)


class Launch(NamedTuple):
    """``items`` work items of an entry point, whose arguments lie in a row, with ``work_bytes`` for each thread."""

    kernel: "EntryPoint"
    items: int
    arguments: list[Any]
    work_bytes: int


class EntryPoint:
    """``function(item, work, *arguments)``, compiled when it is first used."""

    __name__: str

    def __init__(self, function: Callable[..., None]):
        update_wrapper(self, function)
        hints = get_type_hints(function)
        self.function, names = function, list(signature(function).parameters)[2:]
        self.widths = {name: len(get_args(hints[name])) if _is_tuple(hints[name]) else 0 for name in names}

    def __call__(self, items: int, *arguments: Any, work_bytes: int = 0) -> None:
        """Run all items; what the arguments' arrays hold afterwards is the result."""
        run(self.launch(items, *arguments, work_bytes=work_bytes))

    def launch(self, items: int, *arguments: Any, work_bytes: int = 0) -> Launch:
        """The same as a part of a program, see :func:`run`."""
        return Launch(self, items, self.flatten(*arguments), work_bytes)

    def flatten(self, *arguments: Any) -> list[Any]:
        """The integers and arrays of the arguments, in a row."""
        flat = []
        for value, (name, width) in zip(arguments, self.widths.items(), strict=True):
            if width and len(value) != width:
                raise ValueError(f"{self.__name__} takes {width} integers as {name}, not {len(value)}")
            flat += value if width else [value]
        return flat

    @cached_property
    def address(self) -> int:
        """Where its machine code lies, called in Numba's own way.

        (C's way, that of ``cfunc``, has no place for errors: they would be printed, and the item counted as done.)
        """
        kernel = self._kernel(KERNEL)
        entry = kernel.overloads[KERNEL.args]
        return entry.library.get_pointer_to_function(entry.fndesc.llvm_func_name)

    def is_cached(self) -> bool:
        """Whether its machine code lies on disk."""
        return is_cached(self._kernel())

    def _kernel(self, *signatures) -> Any:
        function, read = njit(error_model="numpy")(self.function), _reader(tuple(self.widths.values()))

        def kernel(arguments, item, work):
            function(item, work, *read(arguments))

        kernel.__name__ = f"{self.__module__.rpartition('.')[2]}.{self.__name__}"
        return cached(njit, *signatures, error_model="numpy")(kernel)


def entry_point(function: Callable[..., None]) -> EntryPoint:
    """Decorate a kernel."""
    return EntryPoint(function)


def run(*launches: Launch) -> None:
    """Run the launches one after another, each ended before the next begins, in one call of the thread pool."""
    arguments = [argument for launch in launches for argument in launch.arguments]
    numbers = np.array(addresses(arguments), np.int64)
    (at,), rows = addresses([numbers]), []
    for launch in launches:
        rows.append((launch.kernel.address, at, launch.items))
        at += 8 * len(launch.arguments)
    threads = min(threads_now(), max(launch.items for launch in launches))
    step = -(-max(launch.work_bytes for launch in launches) // LINE) * LINE
    work = empty(threads * step, np.uint8) if step else None
    (work_at,) = addresses([work])
    POOL.run(np.array(rows, np.int64), threads, work_at, step, (arguments, numbers, work))
    if (notes := recorder()) is not None:
        notes.add(launches)


def _is_tuple(hint) -> bool:
    return get_origin(hint) is tuple


def _reader(widths):
    """In compiled code: the tuple of arguments at an address."""
    fields = [types.UniTuple(types.int64, width) if width else types.int64 for width in widths]

    @intrinsic
    def read(context, at):
        def codegen(context, builder, signature, args):
            e, place, values = Emit(builder), count(), []
            for width, field in zip(widths, fields):
                loaded = [e.load_i64(args[0], 8 * next(place)) for _ in range(width or 1)]
                values.append(context.make_tuple(builder, field, loaded) if width else loaded[0])
            return context.make_tuple(builder, signature.return_type, values)

        return types.Tuple(fields)(types.int64), codegen

    return read
