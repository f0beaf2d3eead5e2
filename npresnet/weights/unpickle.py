"""An interpreter for pickles that can build plain containers and what an allow-list names, and nothing else.

A pickle is a program for a small stack machine [P].  The dangerous instructions fetch a global of any module and
call it.  Here a global is only a name to be looked up in a mapping that the caller passes: no module is imported, no
attribute is read or set, and no class of the running program can be reached.  pickle.Unpickler is not involved.

[P] the comments of CPython's Lib/pickletools.py
"""

import pickle  # for the names of its opcodes alone
from collections.abc import Callable, Mapping

from .bounds import Stream
from .errors import WeightsError, describing
from .machine import Machine
from .opcodes import OPERATIONS

NAMES = {getattr(pickle, name)[0]: name for name in pickle.__all__
         if name.isupper() and isinstance(getattr(pickle, name), bytes)}


def unpickle(data, *, globals: Mapping[str, Callable], persistent_load: Callable | None = None,
             encoding: str | None = "utf-8", max_steps: int = 1_000_000, cure: str = ""):
    """The object that the pickle at the start of ``data`` describes.

    data             bytes, or a Stream, which is left behind the pickle's end
    globals          "module name" → a callable that stands for that global, or a Refusal
    persistent_load  called with each persistent id
    encoding         of Python 2's byte strings; None keeps them bytes
    cure             a clause for the message that refuses a global

    Bounds: every instruction takes at least one byte and one step; a step allocates at most 128 bytes and a literal at
    most 4 bytes a byte, so memory is at most 128·min(4·len(data), max_steps) + 4·len(data).  A container costs four
    steps, a call one step for each item of its arguments.  Dictionary keys are strings, bytes and small
    integers: hashing or comparing them takes no time worth attacking.  Nothing recurses.

    Raises only WeightsError.
    """
    stream = data if isinstance(data, Stream) else Stream(data)
    with describing("pickle"):
        machine = Machine(stream, globals, persistent_load, encoding, max_steps, cure)
        while (code := stream.read(1)[0]) != pickle.STOP[0]:
            if code not in OPERATIONS:
                raise WeightsError(f"the opcode {NAMES.get(code, hex(code))} is refused; plain data never needs it")
            machine.charge(1)
            OPERATIONS[code](machine)
        return machine.pop()
