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
from typing import Annotated, Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
from numba import njit, types
from numpy.lib.array_utils import byte_bounds

from ....backend import recorder
from ..arrays import addresses, empty
from ..codegen.disk_cache import is_cached
from ..codegen.jit import cached, inlined, intrinsic
from ..codegen.vector import Emit, integers
from ..threads import threads_now
from .chains import Row, images_of, parts
from .program import Program
from .thread_pool import KERNEL, emit_call

SHORT = "def kernel(arguments, item, work):\n function(item, work)"
Address: TypeAlias = int                                  # given as an array, or None: 0
Shared: TypeAlias = Annotated[int, "shared"]              # an Address of what all images read, and none has a part of
Pair: TypeAlias = tuple[int, int]                         # vertical, horizontal
Shape: TypeAlias = tuple[int, int, int, int]              # images, height, width, channels
Strides: TypeAlias = tuple[int, int, int, int]            # bytes from image to image, channel, row, column
Sides: TypeAlias = tuple[int, int, int, int, int, int, int, int]    # kernel, stride, dilation, padding (top, left)


def _width(hint) -> int:
    return len(get_args(hint)) if get_origin(hint) is tuple else 0


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


class Launch(NamedTuple):
    """``items`` work items of an entry point, whose arguments lie in a row, with ``work_bytes`` for each thread.

    ``images`` and ``each`` as in :class:`.chains.Row`.
    """

    kernel: "EntryPoint"
    items: int
    arguments: list[Any]
    work_bytes: int
    images: int = 0
    each: int = 0

    def row(self) -> Row:
        """The same as the thread pool reads it."""
        spans = [(*byte_bounds(value), shared) for value, shared in zip(self.arguments, self.kernel.shared)
                 if isinstance(value, np.ndarray) and value.size]
        numbers = addresses(self.arguments)
        return Row(self.kernel.address, self.items, numbers, spans, self.images, self.each, self.work_bytes)


class EntryPoint:
    """``function(item, work, *arguments)``, compiled when it is first used."""

    __name__: str

    def __init__(self, function: Callable[..., None]):
        update_wrapper(self, function)
        hints = get_type_hints(function, include_extras=True)
        self.function, names = function, list(signature(function).parameters)[2:]
        self.shared = [hints[name] is Shared for name in names for _ in range(_width(hints[name]) or 1)]
        self.widths = {name: _width(hints[name]) for name in names}

    def __call__(self, items: int, *arguments: Any, work_bytes: int = 0) -> None:
        """Run all items; what the arguments' arrays hold afterwards is the result."""
        run(self.launch(items, *arguments, work_bytes=work_bytes))

    def launch(self, items: int, *arguments: Any, work_bytes: int = 0) -> Launch:
        """The same as a part of a program, see :func:`run`."""
        return Launch(self, items, self.flatten(*arguments), work_bytes)

    def by_image(self, images: int, each: int, *arguments: Any, work_bytes: int = 0) -> Launch:
        """:meth:`launch` of ``each`` items for every image, image after image, that touch only what is the image's."""
        return Launch(self, images * each, self.flatten(*arguments), work_bytes, images, each)

    def by_part(self, images: int, *arguments: Any, work_bytes: int = 0) -> Launch:
        """:meth:`launch` of an item for every part of the images, see :mod:`.chains`."""
        return Launch(self, parts(images), self.flatten(*arguments), work_bytes, images, 0)

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
        self._kernel.compile(KERNEL)
        entry = self._kernel.overloads[KERNEL.args]
        return entry.library.get_pointer_to_function(entry.fndesc.llvm_func_name)

    def is_cached(self) -> bool:
        """Whether its machine code lies on disk."""
        return is_cached(self._kernel)

    @cached_property
    def _kernel(self) -> Any:
        names = "".join(f"{name}, " for name in self.widths)
        source = f"def kernel(arguments, item, work):\n {names} = read(arguments)\n function(item, work, {names})"
        read, function = _reader(tuple(self.widths.values())), inlined(self.function)
        known: dict[str, Any] = {"read": read, "function": function, "__name__": __name__}
        exec(compile(source if names else SHORT, __file__, "exec"), known)      # with names Numba can inline the call
        known["kernel"].__name__ = f"{self.__module__.rpartition('.')[2]}.{self.__name__}"
        return cached(njit, error_model="numpy")(known["kernel"])


def entry_point(function: Callable[..., None]) -> EntryPoint:
    """Decorate a kernel."""
    return EntryPoint(function)


def run(*launches: Launch) -> None:
    """Run the launches one after another, or in chains that compute the same, in one call of the thread pool."""
    rows, threads = [launch.row() for launch in launches], threads_now()
    program = Program(rows, run_part.address)
    work = empty(threads * program.work_step, np.uint8) if program.work_step else None
    program.run(threads, work, launches)
    if (notes := recorder()) is not None:
        notes.add(launches, rows)


@intrinsic
def _call(context, kernel, arguments, item, work):
    def codegen(context, builder, signature, args):
        status = emit_call(context, builder, *args)
        with builder.if_then(status.is_error, likely=False):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@entry_point
def run_part(part, work, images: int, members: Address, count: int):
    """Every kernel of a chain for a part of the images; ``members``: (kernel, arguments, items for each image)."""
    first, last = images_of(part, images)
    table = integers(members, 3 * count)
    for k in range(count):
        kernel, arguments, each = table[3 * k], table[3 * k + 1], table[3 * k + 2]
        if each == 0:
            _call(kernel, arguments, part, work)
        for item in range(first * each, last * each):
            _call(kernel, arguments, item, work)
