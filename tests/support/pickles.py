"""Pickles written instruction by instruction, the honest and the hostile, and raw archives around them."""

import pickle as p
import struct
import zlib

MARK, REDUCE, TUPLE, STOP = p.MARK, p.REDUCE, p.TUPLE, p.STOP
PROTO2 = p.PROTO + b"\2"


def glob(name):
    """GLOBAL "module name"."""
    return p.GLOBAL + name.replace(" ", "\n").encode() + b"\n"


def text(value):
    raw = value.encode("utf-8", "surrogatepass")
    return p.BINUNICODE + struct.pack("<I", len(raw)) + raw


def num(value):
    if -(2**31) <= value < 2**31:
        return p.BININT + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return p.LONG1 + bytes([len(raw)]) + raw


def value(item):
    """The instructions that push a plain Python value; bytes are instructions already."""
    if isinstance(item, bytes):
        return item
    if item is None or isinstance(item, bool):
        return {None: p.NONE, True: p.NEWTRUE, False: p.NEWFALSE}[item]
    if isinstance(item, int):
        return num(item)
    if isinstance(item, float):
        return p.BINFLOAT + struct.pack(">d", item)
    if isinstance(item, str):
        return text(item)
    if isinstance(item, tuple):
        return MARK + b"".join(map(value, item)) + TUPLE
    if isinstance(item, list):
        return p.EMPTY_LIST + MARK + b"".join(map(value, item)) + p.APPENDS
    return p.EMPTY_DICT + MARK + b"".join(value(x) for pair in item.items() for x in pair) + p.SETITEMS


def call(name, *args):
    return glob(name) + value(tuple(args)) + REDUCE


def program(*parts):
    return PROTO2 + b"".join(map(value, parts)) + STOP


ORDERED = call("collections OrderedDict")


def storage(key="0", numel=4, kind="torch FloatStorage", view=()):
    """A persistent id: five items in a zip, six (view=(None,)) in a legacy file."""
    return value(("storage", glob(kind), key, "cpu", numel, *view)) + p.BINPERSID


def tensor(source=None, offset=0, size=(2, 2), stride=(2, 1)):
    return call("torch._utils _rebuild_tensor_v2", source or storage(), offset, size, stride, False, ORDERED)


# --- zip ------------------------------------------------------------------------------------------------------------


def local(name, data, *, packed=None, method=0, flags=0, crc=None, size=None, packed_size=None, extra=b""):
    packed = data if packed is None else packed
    return (
        struct.pack(
            "<4s5H3L2H",
            b"PK\3\4",
            20,
            flags,
            method,
            0,
            0,
            zlib.crc32(data) if crc is None else crc,
            len(packed) if packed_size is None else packed_size,
            len(data) if size is None else size,
            len(name),
            len(extra),
        )
        + name
        + extra
        + packed
    )


def central(name, data, at, *, packed=None, method=0, flags=0, crc=None, size=None, packed_size=None, extra=b""):
    packed = data if packed is None else packed
    return (
        struct.pack(
            "<4s6H3L5H2L",
            b"PK\1\2",
            20,
            20,
            flags,
            method,
            0,
            0,
            zlib.crc32(data) if crc is None else crc,
            len(packed) if packed_size is None else packed_size,
            len(data) if size is None else size,
            len(name),
            len(extra),
            0,
            0,
            0,
            0,
            at,
        )
        + name
        + extra
    )


def end(count, size, start, comment=b""):
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, len(comment)) + comment


def raw_zip(members, *, in_local=None, in_central=None, entries=None, behind=b""):
    """A zip of [(name, data)]; the dictionaries change fields of one member's headers: {name: {field: value}}."""
    body, directory = b"", b""
    for name, data in members:
        key = name.encode()
        directory += central(key, data, len(body), **(in_central or {}).get(name, {}))
        body += local(key, data, **(in_local or {}).get(name, {}))
    count = len(members) if entries is None else entries
    return body + directory + end(count, len(directory), len(body)) + behind


def pth(tree, data=(("0", b"\0" * 16),), **options):
    """A .pth of a pickle and its storages."""
    records = [(f"archive/data/{key}", raw) for key, raw in data]
    return raw_zip([("archive/data.pkl", tree), *records, ("archive/version", b"3")], **options)


# --- legacy and tar -------------------------------------------------------------------------------------------------

MAGIC = program(0x1950A86A20F9469CFC6C) + program(1001) + program({"little_endian": True})


BLOCK = struct.pack("<q", 4) + b"\0" * 16


def legacy(tree, keys=("0",), blocks=(BLOCK,)):
    return MAGIC + tree + program(list(keys)) + b"".join(blocks)


def tar_member(name, data, kind=b"0", size=None, raw_size=None):
    header = bytearray(512)
    header[: len(name)] = name.encode()
    header[100:108], header[108:116], header[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    header[124:136] = raw_size or b"%011o\0" % (len(data) if size is None else size)
    header[136:148], header[156:157], header[257:265] = b"00000000000\0", kind, b"ustar\x0000"
    header[148:156] = b"%06o\0 " % (sum(header) + 8 * 32)
    return bytes(header) + data + b"\0" * (-len(data) % 512)


def tar(members):
    return b"".join(tar_member(*member) for member in members) + b"\0" * 1024
