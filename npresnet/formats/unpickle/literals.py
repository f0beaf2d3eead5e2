"""The instructions [P] that push one value which stands in the pickle itself: constants, numbers, text, bytes.

Decimal numbers of more than 64 characters (1024 of LONG), and integers of more than 1024 bytes are refused.  Byte
strings of Python 2 that are not in the encoding asked for are taken as latin-1.

[P] the comments of CPython's Lib/pickletools.py
"""

from codecs import escape_decode

from ..errors import WeightsError
from .encoded import EncodedText, latin1_bytes
from .stack_machine import Operations, opcode_decorator

LITERALS: Operations = {}
opcode = opcode_decorator(LITERALS)

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
INTEGERS = {"BININT": "<i", "BININT1": "<B", "BININT2": "<H", "BINFLOAT": ">d"}
TEXTS = {"SHORT_BINUNICODE": "<B", "BINUNICODE": "<I", "BINUNICODE8": "<Q"}
BYTES = {"SHORT_BINBYTES": "<B", "BINBYTES": "<I", "BINBYTES8": "<Q"}
LONG = 4096  # bytes, from which a string of bytes is not copied
BYTE_STRINGS = {"SHORT_BINSTRING": "<B", "BINSTRING": "<i"}  # Python 2's str

for _name, _value in CONSTANTS.items():
    opcode(_name)(lambda m, value=_value: m.push(value))
for _name, _layout in INTEGERS.items():
    opcode(_name)(lambda m, layout=_layout: m.push(m.stream.unpack(layout)[0]))
for _name, _layout in TEXTS.items():
    opcode(_name)(lambda m, layout=_layout: m.push(_text(m, _counted(m, layout))))
for _name, _layout in BYTES.items():
    opcode(_name)(lambda m, layout=_layout: m.push(_bytes(m, _counted(m, layout))))
for _name, _layout in BYTE_STRINGS.items():
    opcode(_name)(lambda m, layout=_layout: m.push(_python2(m, bytes(_counted(m, layout)))))


def _counted(m, layout):
    return m.stream.read(m.stream.unpack(layout)[0])


def _bytes(m, raw):
    """The bytes; long ones stay a view where records are read: they may be a network's arrays."""
    return raw if m.records and len(raw) >= LONG else bytes(raw)


def _text(m, raw):
    """UTF-8; lone surrogates, which Python makes of file names in another encoding, are kept.

    A long text behind the function that makes bytes of it stays a view where records are read.
    """
    if m.records and len(raw) >= LONG and m.stack and getattr(m.top, "call", None) is latin1_bytes:
        return EncodedText(raw)
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        return str(raw, "utf-8", "surrogatepass")


def _python2(m, value):
    if m.encoding is None:
        return value
    try:
        return value.decode(m.encoding)
    except UnicodeDecodeError:
        return value.decode("latin-1")


@opcode("BYTEARRAY8")
def _bytearray(m):
    raw = _counted(m, "<Q")
    m.push_container(raw if m.records and len(raw) >= LONG else bytearray(raw))


@opcode("LONG1")
def _long(m):
    m.push(int.from_bytes(_counted(m, "<B"), "little", signed=True))


@opcode("LONG4")
def _long4(m):
    count = m.stream.unpack("<i")[0]
    if count > 1024:
        raise WeightsError(f"an integer takes {count:,} bytes")
    m.push(int.from_bytes(m.stream.read(count), "little", signed=True))


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
    line = m.stream.line(len(m.stream.data))
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise WeightsError("a string of protocol 0 has no quotes")
    m.push(_python2(m, escape_decode(line[1:-1])[0]))


@opcode("UNICODE")
def _unicode(m):
    m.push(m.stream.line(len(m.stream.data)).decode("raw-unicode-escape"))
