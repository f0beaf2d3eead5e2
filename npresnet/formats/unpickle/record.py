"""Record, the inert object in the place of what a pickle makes of a class or function that the reader does not know.

A pickle says "fetch this global, call it with these arguments, set this state".  A Record keeps those words as data and
does none of it: nothing is imported, called or compared by what the file says.
"""

from typing import Any


class Record:
    """What a file says of one object.

    name   the global in full, "module.Class"
    args   what it is called with, or None where the class or function itself is meant
    kwargs the same by name
    state  what its ``__setstate__`` or ``__dict__`` would get
    items  what would be appended or added to it
    pairs  the (key, value) that would be set in it

    Records are equal only to themselves, so that one as a key of a dictionary costs no more than a number.
    """

    __slots__ = ("args", "items", "kwargs", "name", "pairs", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None, kwargs: dict[Any, Any] | None = None):
        self.name, self.args, self.kwargs = name, args, kwargs
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []

    @property
    def kind(self) -> str:
        """The last part of its name, "Conv2d" of "torch.nn.modules.conv.Conv2d"."""
        return self.name.rpartition(".")[2]

    def __repr__(self) -> str:
        return f"<Record of {self.name[:100]!r}>"


class Placeholder(Record):
    """A Record in the place of an array that cannot be read; ``reason`` says why, and what to do, in a line."""

    __slots__ = ("reason",)

    def __init__(self, name: str, reason: str):
        super().__init__(name, ())
        self.reason = reason


class Unreadable(str):
    """An entry of an allow-list whose calls make a Placeholder with this reason."""


def constructed(record: Record, args: tuple[Any, ...], kwargs: dict[Any, Any] | None = None) -> Record:
    """What a call of ``record`` would make: an object of that class, or the answer of that function or object."""
    if record.args is not None:  # not a global: an object, or what a function answered
        return Record("a call", (record, *args), kwargs)
    if record.name in REBUILDERS and args and isinstance(args[0], Record) and args[0].args is None:
        return Record(args[0].name, args[1:], kwargs)
    return Record(record.name, args, kwargs)


REBUILDERS = {  # of objects of any class: the class is the first argument
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "copyreg.__newobj__",
    "copyreg.__newobj_ex__",
}
