"""The stack machine of unpickle(): its stacks, its memo, its budget of steps, and the only two ways out of it."""

import pickle  # for the numbers of its opcodes alone
from collections import OrderedDict
from collections.abc import Mapping

from ..errors import WeightsError, describing, shown
from ..limits import collisions


def registering(table):
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
    """A name of the allow-list on the stack, and what a call of it does."""

    __slots__ = ("call", "name")

    def __init__(self, name, call):
        self.name, self.call = name, call


class Built:
    """What an allow-listed call may return so that the instruction BUILD can complete it: override ``build``."""

    def build(self, state) -> object:
        raise WeightsError(f"BUILD has no meaning for a {type(self).__name__}")


class Dict(OrderedDict, Built):
    """collections.OrderedDict, with the attributes that a pickle sets on it kept apart in ``attributes``."""

    attributes: Mapping = {}

    def build(self, state):
        if type(state) is not dict:
            raise WeightsError("the attributes of an OrderedDict must be a dict")
        self.attributes = state


EMPTY = object()  # a place of the memo where nothing has been stored


class Machine:
    def __init__(self, stream, globals, persistent_load, encoding, budget, cure):
        self.stream, self.globals, self.persistent_load = stream, globals, persistent_load
        self.encoding, self.budget, self.cure = encoding, budget, cure
        self.stack, self.below = [], []                          # ``below``: the stacks under each open MARK
        self.memo, self.stored = [], 0                           # a list, whose indices cannot collide

    def charge(self, steps):
        self.budget.step(steps, "the pickle")

    def store(self, index):
        """Memoize the top.  A writer counts what it stores, so no honest index is beyond the bytes read so far."""
        if not 0 <= index <= self.stream.position:
            raise WeightsError(f"the pickle stores an item under {shown(index)}, beyond its own length")
        self.charge(1)
        self.memo.extend([EMPTY] * (index + 1 - len(self.memo)))
        self.stored += self.memo[index] is EMPTY
        self.memo[index] = self.top

    def recall(self, index):
        if not 0 <= index < len(self.memo) or self.memo[index] is EMPTY:
            raise WeightsError(f"the pickle recalls item {shown(index)}, which it never stored")
        return self.memo[index]

    def checked_keys(self, keys, container):
        """``keys`` for a dictionary or set, each one cheap to hash, all of them paid for together."""
        keys = [checked_key(key) for key in keys]
        numbers = sum(type(key) is int for key in keys)
        if numbers:
            self.charge(collisions(numbers, len(container)))
        return keys

    def push(self, value):
        self.stack.append(value)

    def push_container(self, value):
        self.charge(3)
        self.stack.append(value)

    def pop(self):
        if not self.stack:
            raise WeightsError("the pickle takes from an empty stack")
        return self.stack.pop()

    @property
    def top(self):
        if not self.stack:
            raise WeightsError("the pickle looks at an empty stack")
        return self.stack[-1]

    def pop_to_mark(self):
        if not self.below:
            raise WeightsError("the pickle closes a mark that it never opened")
        items, self.stack = self.stack, self.below.pop()
        return items

    def find(self, module, name):
        """The allow-list's entry for a global; the whole name must match, so no dotted path leads further."""
        key = f"{module} {name}"
        entry = self.globals.get(key, Refusal("only arrays and plain containers are read, nothing is executed"))
        if isinstance(entry, Refusal):
            raise WeightsError(f"refused global {shown(f'{module}.{name}')}: {entry}{self.cure and '; ' + self.cure}")
        self.push(Global(key, entry))

    def call(self, target, args):
        if type(target) is not Global or type(args) is not tuple:
            raise WeightsError("the pickle calls what is no global of the allow-list")
        self.charge(3 + sum(len(a) for a in args if isinstance(a, (str, bytes)))
                    + sum(len(a) + collisions(len(a)) for a in args if isinstance(a, (list, tuple, dict, set))))
        with describing(target.name.replace(" ", ".")):
            self.push(target.call(*args))


def checked_key(key):
    """A key that is cheap to hash: nested tuples hash in exponential time, huge integers take long to compare."""
    if type(key) in (str, bytes) or (type(key) is int and abs(key) < 2**60) or type(key) is bool or key is None:
        return key
    raise WeightsError(f"a dictionary key or set item must be a string, bytes or a small integer, not {shown(key)}")
