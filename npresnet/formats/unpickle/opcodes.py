"""The instructions that unpickle() knows [P]: all of protocols 0 to 4 that plain data uses.

Left out on purpose, so refused by name: EXT1, EXT2, EXT4 (the process's extension registry), OBJ and NEWOBJ_EX
(other ways to call), NEXT_BUFFER and READONLY_BUFFER (out-of-band data), BYTEARRAY8, FROZENSET, LONG4.  INST, the
oldest call, is read far enough to name the global it asks for.

[P] the comments of CPython's Lib/pickletools.py
"""

from ..errors import WeightsError, quoted
from .literals import LITERALS
from .stack_machine import Buildable, Dict, Operations, opcode_decorator

OPERATIONS: Operations = dict(LITERALS)
opcode = opcode_decorator(OPERATIONS)


# --- containers -----------------------------------------------------------------------------------------------------

for _name, _kind in {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}.items():
    opcode(_name)(lambda m, kind=_kind: m.push_container(kind()))


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
    if type(m.top) is not list:
        raise WeightsError(f"the pickle appends to {quoted(m.top)}, which is no list")
    m.top.extend(items)


@opcode("SETITEM")
def _setitem(m):
    value, key = m.pop(), m.pop()
    _set_items(m, [key, value])


@opcode("SETITEMS")
def _setitems(m):
    items = m.pop_to_mark()
    _set_items(m, items)


def _set_items(m, items):
    if type(m.top) not in (dict, Dict) or len(items) % 2:
        raise WeightsError(f"the pickle sets items of {quoted(m.top)}, or a key has no value")
    m.top.update(zip(m.checked_keys(items[::2], m.top), items[1::2]))


@opcode("ADDITEMS")
def _additems(m):
    items = m.pop_to_mark()
    if type(m.top) is not set:
        raise WeightsError(f"the pickle adds items to {quoted(m.top)}, which is no set")
    m.top.update(m.checked_keys(items, m.top))


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
    module, name = m.stream.line().decode("utf-8"), m.stream.line().decode("utf-8")
    raise WeightsError(f"refused global {quoted(f'{module}.{name}')}: plain data never calls with the opcode INST")


@opcode("REDUCE", "NEWOBJ")
def _reduce(m):
    args, target = m.pop(), m.pop()
    m.call(target, args)


@opcode("BUILD")
def _build(m):
    state = m.pop()
    if not isinstance(m.top, Buildable):
        raise WeightsError(f"the pickle sets the state of {quoted(m.top)}, which has none")
    m.top.build(state)


@opcode("PERSID")
def _persid(m):
    m.push(m.stream.line().decode("ascii"))
    _binpersid(m)


@opcode("BINPERSID")
def _binpersid(m):
    if m.persistent_load is None:
        raise WeightsError("the pickle refers to outside data, of which this file has none")
    m.push_container(m.persistent_load(m.pop()))
