"""Mutations of flax's msgpack and MXNet's .params, whose lengths and counts are written anew; see mutate.py."""

import struct

NUMBERS = (0, 1, 2, 3, 4, 7, 32, 33, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
DTYPES = (b"float32", b"float16", b"bfloat16", b"int8", b"uint64", b"bool", b"complex64", b"float8_e4m3fn", b"O", b"")
KEYS = (
    *(b"params batch_stats step kernel scale mean conv1 layer1 0 w shape chunks".split()),
    b"__msgpack_chunked_array__",
    b"arg:w",
    b"aux:w",
    b"\xff",
    b"",
)

# --- msgpack --------------------------------------------------------------------------------------------------------
# A value is [kind, content]: "map" and "list" hold values, "extension" its number and values, all others their bytes.

LENGTHS = {0xC4: (1, "bytes"), 0xC7: (1, "extension"), 0xD9: (1, "text"), 0xDC: (2, "list"), 0xDE: (2, "map")}
SCALARS = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def in_msgpack(data, rng, bend):
    """One value, at any depth, changed, dropped, doubled or put elsewhere."""
    value, end = parsed(data, 0)
    change_node(value, rng, bend)
    return written(value) + data[end:]


def parsed(data, at):
    """([kind, content], the position behind it)"""
    code = data[at]
    size, kind, at = header(data, code, at + 1)
    if kind in ("map", "list"):
        found = []
        for _ in range(2 * size if kind == "map" else size):
            value, at = parsed(data, at)
            found.append(value)
        return [kind, found], at
    if kind == "extension":
        inner, end = parsed(data, at + 1)
        if end == at + 1 + size:
            return [kind, [data[at : at + 1], inner]], end
        size += 1
    if kind == "scalar":
        return [kind, bytes([code]) + data[at : at + size]], at + size
    return [kind if kind != "extension" else "raw", data[at : at + size]], at + size


def header(data, code, at):
    """(length, kind, the position behind the length)"""
    for low, high, kind in ((0x80, 0x8F, "map"), (0x90, 0x9F, "list"), (0xA0, 0xBF, "text")):
        if low <= code <= high:
            return code - low, kind, at
    if 0xD4 <= code <= 0xD8:
        return 1 << (code - 0xD4), "extension", at
    for first, (width, kind) in LENGTHS.items():
        count = 3 if width == 1 else 2
        if first <= code < first + count:
            width <<= code - first
            return int.from_bytes(data[at : at + width], "big"), kind, at + width
    return SCALARS.get(code, 0), "scalar", at


def written(value):
    kind, content = value
    if kind == "scalar":
        return content
    if kind == "extension":
        inner = written(content[1])
        return b"\xc9" + struct.pack(">I", len(inner)) + content[0] + inner
    if kind in ("map", "list"):
        code, count = (b"\xdf", len(content) // 2) if kind == "map" else (b"\xdd", len(content))
        short = {"map": 0x80, "list": 0x90}[kind]
        head = bytes([short | count]) if count < 16 else code + struct.pack(">I", count)
        return head + b"".join(map(written, content))
    if kind == "text" and len(content) < 32:
        return bytes([0xA0 | len(content)]) + content
    return {"text": b"\xdb", "bytes": b"\xc6", "raw": b"\xc9"}[kind] + struct.pack(">I", len(content)) + content


def change_node(value, rng, bend):
    """A value in a container, or what is in one that is no container."""
    while value[0] in ("map", "list", "extension") and value[1]:
        holder, i = value, rng.randrange(len(value[1]))
        value = holder[1][i]
        if holder[0] == "extension":
            if i == 0:
                holder[1][0] = bytes([rng.randrange(256) if rng.random() < 0.5 else rng.randrange(5)])
                return
            continue
        if rng.random() < 0.15:
            j, change = rng.randrange(len(holder[1])), rng.randrange(4)
            if change == 0:
                holder[1].insert(j, holder[1].pop(i))
            elif change == 1:
                holder[1][i:i] = [value] * (2 if holder[0] == "map" else 1)
            elif change == 2:
                del holder[1][i - i % 2 : i - i % 2 + 2]
            else:
                holder[1][i] = leaf(rng)
            return
    if value[0] == "scalar" and rng.random() < 0.8:
        value[:] = leaf(rng)
    elif value[0] == "text":
        value[1] = rng.choice((rng.choice(DTYPES), rng.choice(KEYS), bend(value[1])))
    else:
        value[1] = bend(value[1]) if isinstance(value[1], bytes) else value[1]


def leaf(rng):
    number = rng.choice(NUMBERS)
    return rng.choice(
        (
            ["scalar", bytes([number]) if number < 128 else b"\xcf" + struct.pack(">Q", number)],
            ["scalar", rng.choice((b"\xc0", b"\xc2", b"\xc3", b"\xff", b"\xcb" + bytes(8), b"\xc1"))],
            ["text", rng.choice(KEYS)],
            ["text", rng.choice(DTYPES)],
            ["bytes", bytes(rng.randrange(9))],
            ["list", []],
            ["map", []],
            ["map", [["text", b"w"], ["list", [["scalar", b"\1"], ["scalar", b"\2"]]]]],
            ["extension", [bytes([rng.randrange(4)]), ["list", [["list", []], ["text", b"int8"], ["bytes", b"\0"]]]]],
        )
    )


# --- MXNet ----------------------------------------------------------------------------------------------------------

ITEMSIZES = (4, 8, 2, 1, 4, 1, 8)


def in_mxnet(data, rng, bend):
    """An array's shape, dtype, version or numbers, a name, or a count; what belongs together is written so."""
    arrays, at = [], 24
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        version, kind, ndim = struct.unpack_from("<IiI", data, at)
        shape = list(struct.unpack_from(f"<{ndim}q", data, at + 12))
        at += 12 + 8 * ndim
        device, dtype = data[at : at + 8], struct.unpack_from("<i", data, at + 8)[0]
        size = ITEMSIZES[dtype]
        for n in shape:
            size *= n
        arrays.append([version, kind, shape, device, dtype, data[at + 12 : at + 12 + size]])
        at += 12 + size
    names, at = [], at + 8
    while at < len(data):
        size = struct.unpack_from("<Q", data, at)[0]
        names.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    counts, change = [len(arrays), len(names)], rng.random()
    if change < 0.6:
        change_array(rng.choice(arrays), rng, bend)
    elif change < 0.8 and names:
        i = rng.randrange(len(names))
        names[i] = rng.choice((rng.choice(KEYS), bend(names[i])))
    elif change < 0.9:
        counts[rng.randrange(2)] = rng.choice(NUMBERS)
    else:
        chosen = rng.choice((arrays, names))
        i = rng.randrange(len(chosen))
        chosen[i : i + 1] = [chosen[i]] * rng.choice((0, 2))
        counts = [len(arrays), len(names)]
    body = b"".join(map(array_bytes, arrays))
    texts = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return data[:16] + struct.pack("<Q", counts[0]) + body + struct.pack("<Q", counts[1]) + texts


def change_array(array, rng, bend):
    change = rng.randrange(7)
    if change == 0:
        array[0] = rng.choice((*range(0xF993FAC8, 0xF993FACC), *range(4), rng.choice(NUMBERS) % 2**32))
    elif change == 1:
        array[1] = rng.choice((-1, 0, 1, 2))
    elif change == 2:
        array[2] = [rng.choice(NUMBERS) for _ in range(rng.randrange(5))]
    elif change == 3:
        array[2] = [1] * rng.randrange(40) + array[2]
    elif change == 4:
        array[4] = rng.randrange(-1, 9)
    elif change == 5:
        dtype, count = rng.randrange(7), len(array[5]) // ITEMSIZES[array[4]]
        array[4], array[5] = dtype, bytes(count * ITEMSIZES[dtype])
    else:
        array[5] = bend(array[5])


def array_bytes(array):
    version, kind, shape, device, dtype, content = array
    head, width = struct.pack("<I", version), "I"
    if version in (0xF993FAC9, 0xF993FACA):
        head += struct.pack("<i", kind)
    if 0xF993FAC8 <= version <= 0xF993FACA:
        head, width = head + struct.pack("<I", len(shape)), "q"
    else:
        shape = [n % 2**32 for n in shape]
    return head + struct.pack(f"<{len(shape)}{width}", *shape) + device + struct.pack("<i", dtype) + content
