"""Reads a pickle (protocols 0 to 4) as data: plain containers and what an allow-list names, and nothing else.

A pickle is a program for a small stack machine [P].  The dangerous instructions fetch a global of any module and
call it.  Here a global is only a name to be looked up in a mapping that the caller passes: no module is imported, no
attribute is read or set, and no class of the running program can be reached.  pickle.Unpickler is not used.  Every
global, opcode and persistent id that the caller does not allow is refused.

[P] the comments of CPython's Lib/pickletools.py
"""

import pickle  # for the names of its opcodes alone
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import WeightsError, error_context
from ..stream import Budget, Bytes, Stream
from .opcodes import OPERATIONS
from .stack_machine import Machine

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
) -> Any:
    """The object that the pickle at the start of ``data`` describes.

    data             bytes, or a Stream, which is left behind the pickle's end
    globals          "module name" → a callable that stands for that global, or a Refusal
    persistent_load  called with each persistent id
    encoding         of Python 2's byte strings; None keeps them bytes
    max_steps        the bound on the instructions: by default a million and one for each 64 bytes
    cure             a clause for the message that refuses a global
    budget           of the file that the pickle is a part of, in the place of max_steps

    Bounds: every instruction takes at least one byte and one step; a step allocates at most 128 bytes and a literal at
    most 4 bytes a byte, so memory is at most 128·min(4·len(data), max_steps) + 4·len(data).  A container costs four
    steps, a call one step for each item of its arguments.  Dictionary keys are strings, bytes and small integers;
    integers may be chosen to collide, so that many of them in one dictionary cost as many steps as that takes.
    Nothing recurses.

    Raises only WeightsError.
    """
    stream = data if isinstance(data, Stream) else Stream(data)
    with error_context("pickle"):
        if budget is None:
            budget = Budget(len(stream.data))
            budget.steps = budget.steps if max_steps is None else max_steps
        machine = Machine(stream, globals, persistent_load, encoding, budget, cure)
        while (code := stream.read(1)[0]) != pickle.STOP[0]:
            if code not in OPERATIONS:
                raise WeightsError(f"the opcode {NAMES.get(code, hex(code))} is refused; plain data never needs it")
            machine.charge(1)
            OPERATIONS[code](machine)
        return machine.pop()
