"""Mutations that know the containers, so that a changed input still gets past checksums, lengths and directories.

Every function takes bytes, a random.Random and ``bend``, which changes bytes blindly (libFuzzer's own mutations), and
returns bytes; an exception means that the input is not of its format any more, and its bytes are changed at random.
"""

import gzip
import io
import json
import pickletools
import struct
import zipfile
import zlib

from npresnet.formats.hdf5.file import MAGIC
from npresnet.formats.msgpack import is_msgpack
from npresnet.formats.mxnet import MXNET
from npresnet.formats.onnx import wire
from npresnet.formats.torch.allowlist import TORCH_GLOBALS
from tests.support import pickles

from .mutate_arrays import in_msgpack, in_mxnet

NUMBERS = (0, 1, -1, 2, 3, 4, 6, 7, 32, 33, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**63 - 1, 2**63, 2**64)
NAMES = (
    "archive/data.pkl",
    "archive/data/0",
    "archive/byteorder",
    "archive/constants.pkl",
    "model.weights.h5",
    "config.json",
    "a.npy",
    "b/data.pkl",
    "../a",
    "npresnet.npy",
    "e/data/weights/model_weights_config.json",
    "e/data/weights/0",
    "serialized_state_dict.pt",
    "preprocessor_config.json",
    "model.safetensors",
    "run/",
    "__MACOSX/a",
)
DTYPES = ("F64", "F32", "F16", "BF16", "BOOL", "I64", "I8", "U16", "C64", "F8_E4M3", "")
KEYS = (
    "state_dict",
    "model",
    "module.a",
    "fc.weight",
    "conv1.weight",
    "linear.weight",
    "npresnet",
    "layer1.0.conv2.weight",
    "conv1.0.weight",
    "conv1.6.weight",
    "layer9.9999.conv1.weight",
    "9" * 5000,
    "resnet.embedder.embedder.convolution.weight",
    "a/kernel",
    "x.identity_downsample.y",
    "0",
    f"resnet.encoder.stages.{'9' * 5000}.layers.0.shortcut.convolution.weight",
)
KINDS = (
    *(b"Conv BatchNormalization Relu Add Mul Sub Gemm MatMul MaxPool Pad Slice Transpose Constant Identity If".split()),
    *(b"Sigmoid HardSigmoid HardSwish Clip Erf Div Gelu InstanceNormalization GroupNormalization Reshape".split()),
    *(b"AveragePool GlobalAveragePool ReduceMean Flatten Squeeze Concat ConstantOfShape Cast Sum Max Softmax".split()),
    *(b"pads strides perm auto_pad SAME_UPPER value axes epsilon x a b w conv bn fc".split()),
    *(b"kernel_shape dilations group transB alpha keepdims ceil_mode count_include_pad min max mode data".split()),
    *(b"location offset length net.data 0 16".split()),
    b"../a",
    b"/a",
    b"",
)
CODES = b"(tusaeRb02}])NQ\x81\x85\x86\x87\x88\x89\x8f\x90\x93\x94\x80.1"


def mutate(data, rng, bend):
    """One change or two, most of them with the container in mind: more, and little that is right remains."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            data = bend(data) if rng.random() < 0.1 else inside(data, rng, bend)
        except Exception:  # not of that kind any more
            data = bend(data)
    return data


def inside(data, rng, bend):
    """By what the bytes are."""
    if data[:4] == b"PK\3\4":
        return in_zip(data, rng, bend)
    if data[:2] == b"\x1f\x8b":
        return gzip.compress(inside(gzip.decompress(data), rng, bend), 1)
    if data[257:262] == b"ustar":
        return in_tar(data, rng, bend)
    if data[:1] == b"\x80" or b"\x80\2" in data[:64]:
        return in_pickles(data, rng, bend)
    if data[:6] == b"\x93NUMPY":
        return in_npy(data, rng, bend)
    if data[8:9] == b"{" and len(data) > 9:
        return in_safetensors(data, rng, bend)
    if data[:1] == b"{":
        return in_json(data, rng, bend)
    if data[:8] == MAGIC:
        return in_hdf5(data, rng)
    if data[:8] == MXNET:
        return in_mxnet(data, rng, bend)
    if is_msgpack(data[:8]):
        return in_msgpack(data, rng, bend)
    if data[:1] == b"\x08":
        return in_message(data, rng, bend)
    return bend(data)


# --- archives -------------------------------------------------------------------------------------------------------


def in_zip(data, rng, bend):
    """One member's content, name or headers; the rest, the checksums and the directory are written anew."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    members = among(members, rng, bend)
    changes = {}
    for name, content in members:
        if rng.random() < 0.2:
            machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            changes[name] = {"method": 8, "packed": machine.compress(content) + machine.flush()}
    central = dict(changes)
    if rng.random() < 0.1:
        name, field = rng.choice(members)[0], rng.choice(("method", "flags", "crc", "size", "packed_size"))
        mask = 0xFFFF if field in ("method", "flags") else 0xFFFFFFFF
        central[name] = {**changes.get(name, {}), field: rng.choice(NUMBERS) & mask}
        changes = central if rng.random() < 0.5 else changes
    return pickles.raw_zip(members, in_local=changes, in_central=central)


def in_tar(data, rng, bend):
    members, at = [], 0
    while any(data[at : at + 512]):
        name, kind = data[at : at + 100].rstrip(b"\0").decode(), data[at + 156 : at + 157]
        size = int(data[at + 124 : at + 136].rstrip(b"\0 "), 8)
        members.append((name, data[at + 512 : at + 512 + size], kind))
        at += 512 + -(-size // 512) * 512
    return pickles.tar(among(members, rng, bend))


def among(members, rng, bend):
    """One of [(name, content, …)] changed, renamed, dropped, doubled or put elsewhere."""
    i, change = rng.randrange(len(members)), rng.random()
    name, content, *rest = members[i]
    if change < 0.85:
        members[i] = (name, inside(content, rng, bend), *rest)
    elif change < 0.9:
        members[i] = (rng.choice(NAMES), content, *rest)
    elif change < 0.95:
        members.insert(rng.randrange(len(members)), members.pop(i))
    else:
        members[i : i + 1] = [members[i]] * rng.choice((0, 2))
    return members


# --- pickles --------------------------------------------------------------------------------------------------------


def in_pickles(data, rng, bend):
    """One of the pickles that start somewhere in these bytes, instruction by instruction, the rest at random."""
    starts = [i for i in range(len(data)) if data[i : i + 1] == b"\x80" and data[i + 1 : i + 2] in (b"\2", b"\4")]
    at = rng.choice(starts)
    places = [place for _, _, place in pickletools.genops(data[at:])]
    stop = at + places[-1] + 1
    if rng.random() < 0.1:
        return data[:stop] + bend(data[stop:])
    steps = [data[at + i : at + j] for i, j in zip(places, [*places[1:], places[-1] + 1])]
    return data[:at] + b"".join(instructions(steps, rng, bend)) + data[stop:]


def instructions(steps, rng, bend):
    """A few of them dropped, doubled, moved, inserted, or their arguments changed."""
    i, span, change = rng.randrange(len(steps)), rng.choice((1, 1, 2, 5)), rng.randrange(6)
    if change == 0:
        return steps[:i] + steps[i + span :]
    if change == 1:
        return steps[:i] + steps[i : i + span] + steps[i:]
    if change == 2:
        moved = steps[i : i + span]
        steps = steps[:i] + steps[i + span :]
        j = rng.randrange(len(steps) + 1)
        return steps[:j] + moved + steps[j:]
    if change == 3:
        return steps[:i] + [fragment(rng) for _ in range(span)] + steps[i:]
    if change == 4:
        numbers = [j for j, step in enumerate(steps) if step[:1] in b"KMJ\x8a"]
        j = rng.choice(numbers) if numbers else i
        return steps[:j] + [pickles.num(rng.choice(NUMBERS))] + steps[j + 1 :]
    return steps[:i] + [steps[i][:1] + bend(steps[i][1:])] + steps[i + 1 :]


def fragment(rng):
    """A few instructions that mean something."""
    numbers = tuple(rng.choice(NUMBERS) for _ in range(rng.randrange(4)))
    return rng.choice(
        (
            lambda: bytes([rng.choice(CODES)]),
            lambda: pickles.glob(rng.choice(list(TORCH_GLOBALS))),
            lambda: pickles.call(rng.choice(list(TORCH_GLOBALS)), *numbers),
            lambda: pickles.value(rng.choice(KEYS)),
            lambda: pickles.value(rng.choice(NUMBERS)),
            lambda: pickles.value(numbers),
            lambda: pickles.storage(rng.choice("012"), rng.choice(NUMBERS)),
            lambda: pickles.storage(rng.choice("012"), 4, view=(rng.choice((None, ("v", *numbers))),)),
            lambda: pickles.tensor(size=numbers, stride=numbers[::-1]),
            lambda: rng.choice((b"q", b"h", b"r", b"j")) + bytes(rng.randrange(4) for _ in range(rng.choice((1, 4)))),
            lambda: rng.choice((b"I", b"L", b"F", b"S", b"V", b"g", b"p")) + str(rng.choice(NUMBERS)).encode() + b"\n",
        )
    )()


# --- protocol buffers -----------------------------------------------------------------------------------------------


def in_message(data, rng, bend):
    """A field of a message, at any depth, changed, dropped, doubled or put elsewhere; the lengths are written anew."""
    parts, at = [], 0
    while at < len(data):
        start = at
        tag, at = wire.varint(memoryview(data), at)
        if tag & 7 == wire.VARINT:
            value, at = wire.varint(memoryview(data), at)
        else:
            size, at = {1: (8, at), 5: (4, at)}.get(tag & 7) or wire.varint(memoryview(data), at)
            value, at = data[at : at + size], at + size
        parts.append((tag, value, data[start:at]))
    i, change = rng.randrange(len(parts)), rng.random()
    if change < 0.75:
        parts[i] = (0, 0, changed_field(*parts[i][:2], rng, bend))
    elif change < 0.8:
        parts[i] = (0, 0, changed_field(rng.randrange(256), parts[i][1], rng, bend))
    elif change < 0.9:
        parts.insert(rng.randrange(len(parts)), parts.pop(i))
    else:
        parts[i : i + 1] = [parts[i]] * rng.choice((0, 2))
    return b"".join(part for *_, part in parts)


def changed_field(tag, value, rng, bend):
    if isinstance(value, int):
        return wire.code(tag) + wire.code(rng.choice((rng.choice(NUMBERS), rng.randrange(32))) % 2**64)
    try:
        value = in_message(value, rng, bend) if rng.random() < 0.8 else rng.choice(KINDS)
    except (IndexError, ValueError):  # a text, or numbers
        value = rng.choice(KINDS) if rng.random() < 0.5 else bend(value)
    return wire.code(tag) + (wire.code(len(value)) if tag & 7 == wire.LENGTH else b"") + value


# --- headers of text ------------------------------------------------------------------------------------------------


def in_npy(data, rng, bend):
    """A number, the dtype or any byte of the header; its length is written anew."""
    size = struct.unpack_from("<H", data, 8)[0]
    header, content = data[10 : 10 + size].rstrip(), data[10 + size :]
    change = rng.randrange(4)
    if change == 0:
        header = bend(header)
    elif change == 1:
        header = header.replace(
            rng.choice((b"<f4", b"<f2", b"<i8", b"<f8", b"|b1")),
            rng.choice((b">f8", b"<U3", b"|O8", b"|b1", b"<c16", b"=u2", b"|V4", b"<f2")),
        )
    elif change == 2:
        start = header.index(b"(") + 1
        numbers = ", ".join(str(abs(rng.choice(NUMBERS))) for _ in range(rng.randrange(4))) + ","
        header = header[:start] + numbers.encode() + b"), }"
    else:
        content = bend(content)
    return data[:8] + struct.pack("<H", len(header) + 1) + header + b"\n" + content


def in_safetensors(data, rng, bend):
    """The header, its length written anew, or the content."""
    size = struct.unpack_from("<Q", data)[0]
    text, content = data[8 : 8 + size], data[8 + size :]
    if rng.random() < 0.15:
        content = bend(content)
    else:
        text = in_json(text, rng, bend)
    return struct.pack("<Q", len(text)) + text + content


def in_json(text, rng, bend):
    """One value of the document, at any depth, replaced, dropped or doubled under another key."""
    if rng.random() < 0.25:
        return bend(text)
    document = json.loads(text)
    change_value(document, rng)
    return json.dumps(document).encode()


def change_value(node, rng):
    while True:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], (dict, list)) or not node[key] or rng.random() < 0.2:
            break
        node = node[key]
    if isinstance(node[key], str) and node[key][:1] == "{" and rng.random() < 0.7:  # a document in a document
        inner = json.loads(node[key])
        change_value(inner, rng)
        node[key] = json.dumps(inner)
        return
    other = rng.choice(
        (
            *NUMBERS[:8],
            rng.randrange(40),
            rng.choice(NUMBERS),
            rng.choice(DTYPES),
            rng.choice(KEYS),
            None,
            True,
            1.5,
            [],
            {},
            [2, 2],
            [0, 4],
            node[key],
        )
    )
    if isinstance(node, list):
        node[key : key + 1] = rng.choice(([other], [other], [], [node[key], other]))
    elif rng.random() < 0.2:
        node[rng.choice(KEYS)] = node.pop(key)
    else:
        node[key] = other


def in_hdf5(data, rng):
    """Bytes changed in place: HDF5 is a web of addresses, which an insertion would cut all at once."""
    data = bytearray(data)
    used = [i for i in range(len(data)) if data[i]]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = max(0, rng.choice(used) + rng.choice((0, 0, 0, 1, -1)))
        size = rng.choice((1, 1, 1, 2, 4, 8))
        number = rng.randrange(256) if size == 1 else rng.choice(NUMBERS) % 2 ** (8 * size)
        data[at : at + size] = number.to_bytes(size, "little")
    return bytes(data)
