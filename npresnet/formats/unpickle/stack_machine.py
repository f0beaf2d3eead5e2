"""The stack machine of unpickle(): stacks, memo, budget, and the only two ways out of it, find() and call().

It refuses to take from an empty stack, to recall what was never stored and to hash what Python could not.  A global
that the allow-list does not name becomes a Record, or is refused where the caller wants no records.
"""

import pickle  # for the numbers of its opcodes alone
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from types import NoneType
from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..limits import collisions
from ..stream import Budget, Stream
from .encoded import EncodedText
from .record import Placeholder, Record, Unreadable, constructed

MAX_NAME = 1024  # characters of a global's module and name
PAID_BYTES = 16  # bytes of one instruction that bring a step each
SMALL = 64  # items or bytes of an argument that the call itself pays for
MAX_TUPLE = 16  # items of a tuple that is a key

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


class Global(Record):
    """An entry of the allow-list on the stack: a Record of its name, and what a call of it does."""

    __slots__ = ("call",)

    def __init__(self, name: str, call: Callable[..., Any]):
        super().__init__(name.replace(" ", "."))
        self.call = call


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
        records: bool,
    ):
        self.stream, self.globals, self.persistent_load = stream, globals, persistent_load
        self.encoding, self.budget, self.cure, self.records = encoding, budget, cure, records
        self.paid = 0  # steps that the pickle's own bytes have brought
        self.named: dict[str, Record] = {}  # the Records of globals, one for each name
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each open MARK
        self.memo: list[Any] = []  # by index: indices of a list cannot collide
        self.stored = 0

    def charge(self, steps: int) -> None:
        """Pay for steps: from what the pickle's own bytes have brought, then from the file's budget."""
        self.paid -= steps
        if self.paid < 0:
            self.budget.step(-self.paid, "the pickle")
            self.paid = 0

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
        chosen = sum(type(key) in CHOSEN for key in keys)
        compared = sum(len(key) for key in keys if type(key) in (str, bytes) and len(key) > SMALL)
        if chosen or compared:
            self.budget.step(collisions(chosen, len(container)) + compared // 1024, "the pickle")
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
        """Push the allow-list's entry for a global, whose full name must match, or a Record of its name."""
        if len(module) + len(name) > MAX_NAME:
            raise WeightsError(f"refused global {quoted(f'{module[:99]}.{name[:99]}')}: its name is too long")
        key = f"{module} {name}"
        unknown = Record if self.records else Refusal("only arrays and plain containers are read, nothing is executed")
        entry = self.globals.get(key, unknown)
        if isinstance(entry, Refusal):
            raise WeightsError(f"refused global {quoted(f'{module}.{name}')}: {entry}{self.cure and '; ' + self.cure}")
        self.charge(3 + (len(module) + len(name)) // 32)
        if entry is Record:
            full = f"{module}.{name}"
            entry = self.named.get(full) or self.named.setdefault(full, Record(full))
            self.push(entry)
        else:
            self.push(Global(key, entry))

    def call(self, target: Any, args: Any, kwargs: Any = None) -> None:
        """Push what the allow-list's entry returns for these arguments, or a Record of the call.

        Arguments are paid for by their sizes: bytes and texts in bytes, for they may be copied, others in steps.
        """
        if not isinstance(target, Record) or type(args) is not tuple or type(kwargs) not in (dict, NoneType):
            raise WeightsError("the pickle calls what is no global, or without a tuple of arguments")
        self.charge(8)
        if len(args) > SMALL:
            self.budget.step(len(args), "the pickle")
        if not isinstance(target, Global):
            self.push(constructed(target, args, kwargs))
            return
        if kwargs:
            raise WeightsError(f"{target.name} is called with arguments by name")
        for a in args:
            self.pay_for(a)
        with error_context(target.name):
            entry = target.call
            self.push(Placeholder(target.name, entry) if isinstance(entry, Unreadable) else entry(*args))

    def pay_for(self, a: Any) -> None:
        """Pay for one argument of a call, which may be copied."""
        if type(a) in (str, bytes, bytearray, memoryview, EncodedText) and len(a) > SMALL:
            self.budget.spend(len(a), "the pickle")
            self.budget.step(len(a) // 1024, "the pickle")
        elif isinstance(a, (list, tuple, dict, set, frozenset)) and len(a) > 1:
            self.budget.step(len(a) + collisions(len(a)), "the pickle")


ATOMS = (str, bytes, bool, NoneType)
CHOSEN = (int, float, complex, tuple)  # whose hashes a file can choose to collide


def checked_key(key: Any) -> Any:
    """A key that is cheap to hash and to compare: what is not is kept in a Record, which is equal only to itself.

    Nested tuples hash in exponential time, and huge integers take long to compare.
    """
    if cheap(key) or isinstance(key, Record):
        return key
    if type(key) is tuple and len(key) <= MAX_TUPLE and all(map(cheap, key)):
        return key
    if isinstance(key, (list, dict, set, bytearray)):
        raise WeightsError(f"a dictionary key or set item must be a string, a number or a tuple, not {quoted(key)}")
    return Record(f"builtins.{type(key).__name__}", (key,))


def cheap(key: Any) -> bool:
    """Whether a key is hashed in a step."""
    return type(key) in ATOMS or type(key) in (float, complex) or (type(key) is int and key.bit_length() <= 60)
