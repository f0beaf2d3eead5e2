"""The stack machine of unpickle(): stacks, memo, budget, and the only two ways out of it, find() and call().

It refuses to take from an empty stack, to recall what was never stored, to use anything but short keys in dictionaries
and sets, and every global that the allow-list does not name.
"""

import pickle  # for the numbers of its opcodes alone
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..limits import collisions
from ..stream import Budget, Stream

Operations = dict[int, Callable[["Machine"], Any]]  # opcode → what it does to the Machine


def opcode_decorator(table: Operations) -> Callable[..., Any]:
    """A decorator @opcode("NAME", …) that enters a function of the Machine in ``table`` under these opcodes."""

    def opcode(*names):
        def register(function):
            table.update({getattr(pickle, name)[0]: function for name in names})
            return function

        return register

    return opcode


class Refusal(str):
    """An entry of an allow-list that refuses a global and says why."""


class Global:
    """An entry of the allow-list on the stack: its name, and what a call of it does."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any]):
        self.name, self.call = name, call


class Buildable:
    """An object that the instruction BUILD may complete by its state: override ``build``."""

    def build(self, state: Any) -> None:
        raise WeightsError(f"BUILD has no meaning for a {type(self).__name__}")


class Dict(OrderedDict, Buildable):
    """collections.OrderedDict, with the attributes that a pickle sets on it kept apart in ``attributes``."""

    attributes: Mapping[Any, Any] = {}

    def build(self, state: Any) -> None:
        if type(state) is not dict:
            raise WeightsError("the attributes of an OrderedDict must be a dict")
        self.attributes = state


EMPTY = object()  # a place of the memo where nothing has been stored


class Machine:
    """The state of one run; the instructions of opcodes.py and literals.py call its methods."""

    def __init__(
        self,
        stream: Stream,
        globals: Mapping[str, Any],
        persistent_load: Callable[[Any], Any] | None,
        encoding: str | None,
        budget: Budget,
        cure: str,
    ):
        self.stream, self.globals, self.persistent_load = stream, globals, persistent_load
        self.encoding, self.budget, self.cure = encoding, budget, cure
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each open MARK
        self.memo: list[Any] = []  # by index: indices of a list cannot collide
        self.stored = 0

    def charge(self, steps: int) -> None:
        """Pay for steps beyond the one that every instruction costs."""
        self.budget.step(steps, "the pickle")

    def store(self, index: int) -> None:
        """Memoize the top.  A writer counts what it stores, so no honest index is beyond the bytes read so far."""
        if not 0 <= index <= self.stream.position:
            raise WeightsError(f"the pickle stores an item under {quoted(index)}, beyond its own length")
        self.charge(1)
        self.memo.extend([EMPTY] * (index + 1 - len(self.memo)))
        self.stored += self.memo[index] is EMPTY
        self.memo[index] = self.top

    def recall(self, index: int) -> Any:
        """The item stored under that index."""
        if not 0 <= index < len(self.memo) or self.memo[index] is EMPTY:
            raise WeightsError(f"the pickle recalls item {quoted(index)}, which it never stored")
        return self.memo[index]

    def checked_keys(self, keys: list[Any], container: Collection[Any]) -> list[Any]:
        """``keys`` for a dictionary or set, each one cheap to hash, all of them paid for together."""
        keys = [checked_key(key) for key in keys]
        numbers = sum(type(key) is int for key in keys)
        if numbers:
            self.charge(collisions(numbers, len(container)))
        return keys

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_container(self, value: Any) -> None:
        """Push what takes more memory than the step of one instruction pays for."""
        self.charge(3)
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise WeightsError("the pickle takes from an empty stack")
        return self.stack.pop()

    @property
    def top(self) -> Any:
        if not self.stack:
            raise WeightsError("the pickle reads the top of an empty stack")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        """Everything above the last MARK, which is closed."""
        if not self.below:
            raise WeightsError("the pickle closes a mark that it never opened")
        items, self.stack = self.stack, self.below.pop()
        return items

    def find(self, module: str, name: str) -> None:
        """Push the allow-list's entry for a global; the full name must match, so no dotted path leads further."""
        key = f"{module} {name}"
        entry = self.globals.get(key, Refusal("only arrays and plain containers are read, nothing is executed"))
        if isinstance(entry, Refusal):
            raise WeightsError(f"refused global {quoted(f'{module}.{name}')}: {entry}{self.cure and '; ' + self.cure}")
        self.push(Global(key, entry))

    def call(self, target: Any, args: Any) -> None:
        """Push what the allow-list's entry returns for these arguments, which are paid for by their sizes."""
        if type(target) is not Global or type(args) is not tuple:
            raise WeightsError("the pickle calls what is no global of the allow-list")
        self.charge(
            3
            + sum(len(a) for a in args if isinstance(a, (str, bytes)))
            + sum(len(a) + collisions(len(a)) for a in args if isinstance(a, (list, tuple, dict, set)))
        )
        with error_context(target.name.replace(" ", ".")):
            self.push(target.call(*args))


def checked_key(key: Any) -> Any:
    """A key that is cheap to hash: nested tuples hash in exponential time, huge integers take long to compare."""
    if type(key) in (str, bytes) or (type(key) is int and abs(key) < 2**60) or type(key) is bool or key is None:
        return key
    raise WeightsError(f"a dictionary key or set item must be a string, bytes or a small integer, not {quoted(key)}")
