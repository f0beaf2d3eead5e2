"""The instructions that unpickle() knows [P]: all of protocols 0 to 5 that objects in a file use.

Left out on purpose, so refused by name: EXT1, EXT2, EXT4 (the process's extension registry), NEXT_BUFFER and
READONLY_BUFFER (out-of-band data).  What is appended to a Record, set in it or set as its state is kept there as data.

[P] the comments of CPython's Lib/pickletools.py
"""

from typing import Any, TypeGuard

from ..errors import WeightsError, quoted
from .literals import LITERALS
from .record import Record
from .stack_machine import Buildable, Dict, Operations, opcode_decorator

OPERATIONS: Operations = dict(LITERALS)
opcode = opcode_decorator(OPERATIONS)


# --- containers -----------------------------------------------------------------------------------------------------

for _name, _kind in {"EMPTY_LIST": list, "EMPTY_DICT": dict}.items():
    opcode(_name)(lambda m, kind=_kind: m.push_container(kind()))


@opcode("EMPTY_SET")
def _empty_set(m):
    m.charge(3)  # it takes three times what a list takes
    m.push_container(set())


@opcode("FROZENSET")
def _frozenset(m):
    m.charge(3)
    m.push_container(frozenset(m.checked_keys(m.pop_to_mark(), ())))


@opcode("MARK")
def _mark(m):
    m.charge(1)
    m.below.append(m.stack)
    m.stack = []


@opcode("TUPLE")
def _tuple(m):
    m.push_container(tuple(m.pop_to_mark()))


for _name, _count in {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.items():
    opcode(_name)(lambda m, count=_count: m.push(tuple([m.pop() for _ in range(count)][::-1])))


@opcode("LIST")
def _list(m):
    m.push_container(m.pop_to_mark())


@opcode("DICT")
def _dict(m):
    items = m.pop_to_mark()
    m.push_container({})
    _set_items(m, items)


@opcode("APPEND")
def _append(m):
    item = m.pop()
    _extend(m, [item])


@opcode("APPENDS")
def _appends(m):
    items = m.pop_to_mark()
    _extend(m, items)


def _extend(m, items):
    top = m.top
    if type(top) is list:
        top.extend(items)
    elif made(top):
        top.items.extend(items)
    else:
        raise WeightsError(f"the pickle appends to {quoted(top)}, which is no list")


def made(value: Any) -> TypeGuard[Record]:
    """Whether this is a Record of an object, not of a global."""
    return isinstance(value, Record) and value.args is not None


@opcode("SETITEM")
def _setitem(m):
    value, key = m.pop(), m.pop()
    _set_items(m, [key, value])


@opcode("SETITEMS")
def _setitems(m):
    items = m.pop_to_mark()
    _set_items(m, items)


def _set_items(m, items):
    top = m.top
    if type(top) in (dict, Dict) and len(items) % 2 == 0:
        top.update(zip(m.checked_keys(items[::2], top), items[1::2]))
    elif made(top) and len(items) % 2 == 0:
        m.charge(len(items) // 2)
        top.pairs.extend(zip(items[::2], items[1::2]))
    else:
        raise WeightsError(f"the pickle sets items of {quoted(top)}, or a key has no value")


@opcode("ADDITEMS")
def _additems(m):
    items = m.pop_to_mark()
    top = m.top
    if type(top) is set:
        top.update(m.checked_keys(items, top))
    elif made(top):
        top.items.extend(items)
    else:
        raise WeightsError(f"the pickle adds items to {quoted(top)}, which is no set")


# --- stack and memo -------------------------------------------------------------------------------------------------

opcode("POP")(lambda m: m.pop() if m.stack else m.pop_to_mark())
opcode("POP_MARK")(lambda m: m.pop_to_mark())
opcode("DUP")(lambda m: m.push(m.top))
opcode("PROTO")(lambda m: m.stream.read(1))
opcode("FRAME")(lambda m: m.stream.peek(m.stream.unpack("<Q")[0]))  # a promise that so many bytes follow
opcode("MEMOIZE")(lambda m: m.store(m.stored))
opcode("PUT")(lambda m: m.store(int(m.stream.line(24))))
opcode("GET")(lambda m: m.push(m.recall(int(m.stream.line(24)))))
for _name, _layout in {"BINPUT": "<B", "LONG_BINPUT": "<I"}.items():
    opcode(_name)(lambda m, layout=_layout: m.store(m.stream.unpack(layout)[0]))
for _name, _layout in {"BINGET": "<B", "LONG_BINGET": "<I"}.items():
    opcode(_name)(lambda m, layout=_layout: m.push(m.recall(m.stream.unpack(layout)[0])))


# --- names and calls ------------------------------------------------------------------------------------------------


@opcode("GLOBAL")
def _global(m):
    module, name = m.stream.line().decode("utf-8"), m.stream.line().decode("utf-8")
    m.find(module, name)


@opcode("STACK_GLOBAL")
def _stack_global(m):
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise WeightsError("the name of a global must be a string")
    m.find(module, name)


@opcode("INST")
def _inst(m):
    _global(m)
    target = m.pop()
    m.call(target, tuple(m.pop_to_mark()))


@opcode("OBJ")
def _obj(m):
    items = m.pop_to_mark()
    if not items:
        raise WeightsError("the pickle calls nothing")
    m.call(items[0], tuple(items[1:]))


@opcode("REDUCE", "NEWOBJ")
def _reduce(m):
    args, target = m.pop(), m.pop()
    m.call(target, args)


@opcode("NEWOBJ_EX")
def _newobj_ex(m):
    kwargs, args, target = m.pop(), m.pop(), m.pop()
    m.call(target, args, kwargs)


@opcode("BUILD")
def _build(m):
    state = m.pop()
    if isinstance(m.top, Buildable):
        m.top.build(state)
    elif made(m.top):
        m.top.state = state
    else:
        raise WeightsError(f"the pickle sets the state of {quoted(m.top)}, which has none")


@opcode("PERSID")
def _persid(m):
    m.push(m.stream.line().decode("ascii"))
    _binpersid(m)


@opcode("BINPERSID")
def _binpersid(m):
    if m.persistent_load is None:
        raise WeightsError("the pickle refers to outside data, of which this file has none")
    m.push_container(m.persistent_load(m.pop()))
