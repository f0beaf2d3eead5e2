"""Entry points: kernels that the thread pool runs, an item of their work at a time.

    @entry_point
    def scale(item, work, x: Address, shape: Shape, factors: Address):
        ...

    scale(items, x, x.shape, factors)                             # every item, on all threads; x as an array
    run(scale.launch(items, …), shift.launch(items, …))           # one after the other, in one call of the pool

``item`` is the number of the work item, ``work`` the address of ``work_bytes`` bytes of the thread's own.  The other
arguments reach compiled code as integers, an array as its address; one annotated as a tuple of so many integers is as
many.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from inspect import signature
from typing import Annotated, Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
from numba import njit, types
from numpy.lib.array_utils import byte_bounds

from ....backend import recorder
from ..arrays import addresses, empty
from ..codegen.disk_cache import is_cached, is_writable
from ..codegen.jit import NOT_FROM_PYTHON, cached
from ..codegen.vector import integers
from ..threads import threads_now
from .chains import Row, images_of, parts
from .program import Program
from .thread_pool import MOST, call

Address: TypeAlias = int                                  # given as an array, or None: 0
Shared: TypeAlias = Annotated[int, "shared"]              # an Address of what all images read, and none has a part of
Pair: TypeAlias = tuple[int, int]                         # vertical, horizontal
Shape: TypeAlias = tuple[int, int, int, int]              # images, height, width, channels
Strides: TypeAlias = tuple[int, int, int, int]            # bytes from image to image, channel, row, column
Sides: TypeAlias = tuple[int, int, int, int, int, int, int, int]    # kernel, stride, dilation, padding (top, left)


def _width(hint) -> int:
    return len(get_args(hint)) if get_origin(hint) is tuple else 0


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
        if len(self.shared) > MOST:
            raise TypeError(f"{self.__name__} takes {len(self.shared)} integers; an entry point can take {MOST}")

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
        """Where its machine code lies, called in Numba's own way, in which a tuple of integers is so many integers.

        (C's way, that of ``cfunc``, has no place for errors: they would be printed, and the item counted as done.)
        """
        kinds = [types.UniTuple(types.int64, width) if width else types.int64 for width in self.widths.values()]
        signature = types.void(types.int64, types.int64, *kinds)
        self._kernel.compile(signature)
        entry = self._kernel.overloads[signature.args]
        return entry.library.get_pointer_to_function(entry.fndesc.llvm_func_name)

    @property
    def is_loaded(self) -> bool:
        """Whether its machine code is in this process."""
        return "address" in vars(self)

    def is_cached(self) -> bool:
        """Whether its machine code lies on disk."""
        return is_cached(self._kernel)

    def can_be_kept(self) -> bool:
        """Whether there is a directory for it."""
        return is_writable(self._kernel)

    @cached_property
    def _kernel(self) -> Any:
        return cached(njit, error_model="numpy", **NOT_FROM_PYTHON)(self.function)


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


@entry_point
def run_part(part, work, images: int, members: Address, count: int):
    """Every kernel of a chain for a part of the images.

    ``members``: for each (kernel, how many arguments, where they lie, items for each image).
    """
    first, last = images_of(part, images)
    table = integers(members, 4 * count)
    for k in range(count):
        kernel, numbers, arguments, each = table[4 * k], table[4 * k + 1], table[4 * k + 2], table[4 * k + 3]
        start, stop = (part, part + 1) if each == 0 else (first * each, last * each)
        for item in range(start, stop):
            call(kernel, numbers, arguments, item, work, 0)
