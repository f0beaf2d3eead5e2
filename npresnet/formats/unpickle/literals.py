"""The instructions [P] that push one value which stands in the pickle itself: constants, numbers, text, bytes.

Lines of more than 1024 bytes, decimal numbers of INT and FLOAT of more than 64, and strings of protocol 0 with escapes
are refused.

[P] the comments of CPython's Lib/pickletools.py
"""

from ..errors import WeightsError
from .stack_machine import Operations, opcode_decorator

LITERALS: Operations = {}
opcode = opcode_decorator(LITERALS)

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
INTEGERS = {"BININT": "<i", "BININT1": "<B", "BININT2": "<H", "BINFLOAT": ">d"}
TEXTS = {"SHORT_BINUNICODE": "<B", "BINUNICODE": "<I", "BINUNICODE8": "<Q"}
BYTES = {"SHORT_BINBYTES": "<B", "BINBYTES": "<I", "BINBYTES8": "<Q"}
BYTE_STRINGS = {"SHORT_BINSTRING": "<B", "BINSTRING": "<i"}  # Python 2's str

for _name, _value in CONSTANTS.items():
    opcode(_name)(lambda m, value=_value: m.push(value))
for _name, _layout in INTEGERS.items():
    opcode(_name)(lambda m, layout=_layout: m.push(m.stream.unpack(layout)[0]))
for _name, _layout in TEXTS.items():
    opcode(_name)(lambda m, layout=_layout: m.push(str(_counted(m, layout), "utf-8")))
for _name, _layout in BYTES.items():
    opcode(_name)(lambda m, layout=_layout: m.push(bytes(_counted(m, layout))))
for _name, _layout in BYTE_STRINGS.items():
    opcode(_name)(lambda m, layout=_layout: m.push(_python2(m, bytes(_counted(m, layout)))))


def _counted(m, layout):
    return m.stream.read(m.stream.unpack(layout)[0])


def _python2(m, value):
    return value if m.encoding is None else value.decode(m.encoding)


@opcode("LONG1")
def _long(m):
    m.push(int.from_bytes(_counted(m, "<B"), "little", signed=True))


@opcode("INT")
def _int(m):
    line = m.stream.line(64)
    m.push(line == b"01" if line in (b"00", b"01") else int(line))


@opcode("LONG")
def _decimal(m):
    m.push(int(m.stream.line().removesuffix(b"L")))


@opcode("FLOAT")
def _float(m):
    m.push(float(m.stream.line(64)))


@opcode("STRING")
def _string(m):
    line = m.stream.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"') or b"\\" in line:
        raise WeightsError("a string of protocol 0 with escapes or without quotes is not read")
    m.push(_python2(m, line[1:-1]))


@opcode("UNICODE")
def _unicode(m):
    m.push(m.stream.line().decode("raw-unicode-escape"))
