"""Reads a pickle (protocols 0 to 5) as data: plain containers, what an allow-list names, and inert Records.

A pickle is a program for a small stack machine [P].  The dangerous instructions fetch a global of any module and
call it.  Here a global is only a name to be looked up in a mapping that the caller passes: no module is imported, no
attribute is read or set, and no class of the running program can be reached.  pickle.Unpickler is not used.  A global
that the mapping does not name is refused, or, where the caller asks for ``records``, becomes a Record, which keeps what
the pickle says of it as data.

[P] the comments of CPython's Lib/pickletools.py
"""

import pickle  # for the names of its opcodes alone
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import WeightsError, error_context
from ..stream import Budget, Bytes, Stream
from .opcodes import OPERATIONS
from .stack_machine import PAID_BYTES, Machine

STOP = pickle.STOP[0]
NAMES = {
    getattr(pickle, name)[0]: name
    for name in pickle.__all__
    if name.isupper() and isinstance(getattr(pickle, name), bytes)
}


def unpickle(
    data: Bytes | Stream,
    *,
    globals: Mapping[str, Any],
    persistent_load: Callable[[Any], Any] | None = None,
    encoding: str | None = "utf-8",
    max_steps: int | None = None,
    cure: str = "",
    budget: Budget | None = None,
    records: bool = False,
    brings_steps: bool = True,
) -> Any:
    """The object that the pickle at the start of ``data`` describes.

    data             bytes, or a Stream, which is left behind the pickle's end
    globals          "module name" → a callable that stands for that global, or a Refusal
    persistent_load  called with each persistent id
    encoding         of Python 2's byte strings; None keeps them bytes
    max_steps        a bound on the steps: by default a million and one for each byte of the pickle
    cure             a clause for the message that refuses a global
    budget           of the file that the pickle is a part of, in the place of max_steps
    records          whether a global that is not among ``globals`` becomes a Record, instead of being refused; bytes of
                     4 KiB and more are then views of ``data``, whose pages a text that is made into bytes gives back
    brings_steps     whether the pickle's own bytes bring steps; not those that may be read again and again

    Bounds: every instruction takes at least one byte and one step; a step allocates at most 128 bytes and a literal at
    most 4 bytes a byte, so memory is at most 128·(1,000,000 + len(data)) + 4·len(data), and what calls copy, which is
    paid for in bytes.  A container or a global costs four steps, a set seven, a call nine and one for each item of long
    arguments.  Each instruction's own bytes, up to sixteen, bring a step each, so that a long log of numbers is read;
    what grows faster than the file is paid from the million (and one for each 64 bytes of the file) alone: integers,
    floats and tuples may be chosen to collide as keys, so that many of them in one dictionary cost as many steps as
    that takes.  Nothing recurses.

    Raises only WeightsError.
    """
    stream = data if isinstance(data, Stream) else Stream(data)
    with error_context("pickle"):
        if budget is None:
            budget = Budget(len(stream.data))
            budget.steps = budget.steps if max_steps is None else max_steps
        machine = Machine(stream, globals, persistent_load, encoding, budget, cure, records)
        brings = PAID_BYTES if brings_steps and max_steps is None else 0
        while True:
            start = stream.position
            code = stream.read(1)[0]
            if code == STOP:
                return machine.pop()
            if code not in OPERATIONS:
                raise WeightsError(f"the opcode {NAMES.get(code, hex(code))} is refused; plain data never needs it")
            machine.charge(1)
            OPERATIONS[code](machine)
            machine.paid += min(stream.position - start, brings)
