"""Legacy, tar, safetensors and npz files that lie."""

import io
import json
import struct

import numpy as np
import pytest

from ..support.pickles import (
    BLOCK,
    MAGIC,
    PROTO2,
    glob,
    legacy,
    program,
    raw_zip,
    storage,
    tar,
    tar_member,
    tensor,
    value,
)


def rooted(numel=4, view=None, key="0"):
    return tensor(source=storage(key=key, numel=numel, view=(view,)))


TREE = program({"w": rooted()})


def block(count, size=16):
    return struct.pack("<q", count) + b"\0" * size


LEGACY = {
    "another magic": program(7) + program(1001) + program({}) + TREE,
    "another protocol": program(0x1950A86A20F9469CFC6C) + program(1002) + program({}) + TREE,
    "nothing behind the magic": MAGIC,
    "no storages": MAGIC + TREE + program([]),
    "keys in a dict": MAGIC + TREE + program({"0": 1}) + BLOCK,
    "keys that are numbers": legacy(TREE, keys=(0,)),
    "an unknown key": legacy(TREE, keys=("1",)),
    "a key twice": legacy(TREE, keys=("0", "0"), blocks=(BLOCK, BLOCK)),
    "a key too many": legacy(TREE, keys=("0", "1"), blocks=(BLOCK, BLOCK)),
    "count too large": legacy(TREE, blocks=(block(5, 20),)),
    "count too small": legacy(TREE, blocks=(block(3, 12),)),
    "negative count": legacy(TREE, blocks=(block(-4),)),
    "huge count": legacy(TREE, blocks=(block(2**62),)),
    "both counts huge": legacy(program({"w": rooted(2**60)}), blocks=(block(2**60),)),
    "both counts negative": legacy(program({"w": rooted(-4)}), blocks=(block(-4),)),
    "data cut off": legacy(TREE, blocks=(BLOCK[:-1],)),
    "bytes behind the end": legacy(TREE) + b"\0",
    "five items in the id": legacy(program({"w": tensor()})),
    "a view past the end": legacy(program({"w": rooted(4, ("v", 2, 4))})),
    "a view with a negative offset": legacy(program({"w": rooted(4, ("v", -1, 4))})),
    "a view with a negative count": legacy(program({"w": rooted(4, ("v", 0, -4))})),
    "a view with a huge offset": legacy(program({"w": rooted(4, ("v", 2**63, 4))})),
    "a view of two items": legacy(program({"w": rooted(4, ("v", 0))})),
    "a view by number": legacy(program({"w": rooted(4, (1, 0, 4))})),
    "a view in two ways": legacy(program({"a": rooted(4, ("v", 0, 4)), "b": rooted(4, ("v", 1, 3))})),
    "a storage in two ways": legacy(program({"a": rooted(4), "b": rooted(5)})),
}


def storages(*items, count=None, views=()):
    body = b"".join(program((key, "cpu", glob(f"torch {kind}"))) + data for key, kind, data in items)
    return program(len(items) if count is None else count) + body + program(list(views))


def tensors(*items, count=None):
    body = b"".join(program((key, root, glob("torch FloatTensor"))) + data for key, root, data in items)
    return program(len(items) if count is None else count) + body


def view(ndim=1, size=(4,), stride=(1,), offset=0):
    return struct.pack(f"<i4x{len(size)}q{len(stride)}qq", ndim, *size, *stride, offset)


STORE, VIEW = (1, "FloatStorage", BLOCK), (2, 1, view())


def old(tree=None, stores=None, views=None, **more):
    tree = program({"w": value(2) + b"Q"}) if tree is None else tree
    return tar(
        [
            ("pickle", tree),
            ("storages", storages(STORE) if stores is None else stores),
            ("tensors", tensors(VIEW) if views is None else views),
            *more.get("members", ()),
        ]
    )


TAR = {
    "no pickle": tar([("storages", storages(STORE)), ("tensors", tensors(VIEW))]),
    "a member twice": old(members=[("pickle", program({}))]),
    "a symbolic link": old(members=[("link", b"", b"2")]),
    "a hard link": old(members=[("link", b"", b"1")]),
    "a device": old(members=[("dev", b"", b"3")]),
    "a fifo": old(members=[("fifo", b"", b"6")]),
    "sparse": old(members=[("sparse", b"", b"S")]),
    "a long name": old(members=[("././@LongLink", b"x" * 200, b"L")]),
    "a global header": old(members=[("pax", b"14 size=9999\n", b"g")]),
    "a pax size": old(members=[("pax", b"13 size=9999\n", b"x")]),
    "a pax path": old(members=[("pax", b"15 path=pickle\n", b"x")]),
    "a pax sparse map": old(members=[("pax", b"24 GNU.sparse.major=1\n", b"x")]),
    "a huge pax header": old(members=[("pax", b"0" * 5000, b"x")]),
    "a huge size": old(members=[("big", b"", b"0", 8**11 - 1)]),
    "a size in base 256": old(members=[("big", b"", b"0", None, b"\x80" + b"\xff" * 11)]),
    "a negative size": old(members=[("big", b"", b"0", None, b"-0000000001\0")]),
    "a size that is no number": old(members=[("big", b"", b"0", None, b"zzzzzzzzzzz\0")]),
    "no size": old(members=[("big", b"", b"0", None, b"\0" * 12)]),
    "a bad checksum": b"P" + old()[1:],
    "no end": old()[:-1024],
    "a half header behind": old()[:-1024] + tar_member("x", b"")[:300],
    "count of storages too large": old(stores=storages(STORE, count=10**9)),
    "negative count of storages": old(stores=storages(STORE, count=-1)),
    "count of storages is a list": old(stores=program([])),
    "a storage twice": old(stores=storages(STORE, STORE)),
    "a storage longer than the file": old(stores=storages((1, "FloatStorage", block(2**40)))),
    "a storage of negative length": old(stores=storages((1, "FloatStorage", block(-4)))),
    "a storage of no known type": old(stores=storages((1, "Storage", BLOCK))),
    "a storage of a function": old(stores=program(1) + program((1, "cpu", glob("os system"))) + BLOCK),
    "a storage named by text": old(stores=storages(("one", "FloatStorage", BLOCK))),
    "a storage named by a huge number": old(stores=storages((2**100, "FloatStorage", BLOCK))),
    "views past the end": old(stores=storages(STORE, views=[(3, 1, 2, 4)])),
    "views before the start": old(stores=storages(STORE, views=[(3, 1, -2, 4)])),
    "views of a stranger": old(stores=storages(STORE, views=[(3, 9, 0, 4)])),
    "views over another": old(stores=storages(STORE, views=[(1, 1, 0, 4)])),
    "views of three items": old(stores=storages(STORE, views=[(3, 1, 0)])),
    "views that are a dict": old(stores=storages(STORE)[:-5] + program({})[2:]),
    "no views": old(stores=storages(STORE)[:-6]),
    "count of tensors too large": old(views=tensors(VIEW, count=10**9)),
    "a tensor twice": old(views=tensors(VIEW, VIEW)),
    "a tensor named like a storage": old(views=tensors((1, 1, view()))),
    "a tensor of a stranger": old(views=tensors((2, 9, view()))),
    "negative dimensions": old(views=tensors((2, 1, view(ndim=-1)))),
    "huge dimensions": old(views=tensors((2, 1, view(ndim=2**31 - 1)))),
    "a size past the end": old(views=tensors((2, 1, view(size=(5,))))),
    "a tensor of negative size": old(views=tensors((2, 1, view(size=(-4,))))),
    "a negative stride": old(views=tensors((2, 1, view(stride=(-1,), offset=3)))),
    "a stride 0 bomb": old(views=tensors((2, 1, view(2, (2**20, 2**10), (0, 0))))),
    "a negative offset": old(views=tensors((2, 1, view(size=(1,), offset=-1)))),
    "an id of no tensor": old(program({"w": value(7) + b"Q"})),
    "an id that is a tuple": old(program({"w": value(("module", 1)) + b"Q"})),
    "an id that is a long text": old(program({"w": value("1" * 5000) + b"Q"})),
    "an id that is a negative text": old(program({"w": value("-2") + b"Q"})),
    "a storage for an array": old(program({"w": value(1) + b"Q"})),
}


def safe(header, data=b"\0" * 16, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(dtype="F32", shape=(4,), offsets=(0, 16), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


SAFETENSORS = {
    "a header longer than the file": safe({"w": entry()}, size=10**6),
    "a header of 100 MB and one byte": safe({"w": entry()}, size=100_000_001),
    "a header of 2^63": safe({"w": entry()}, size=2**63),
    "an empty header": safe(b"", size=0),
    "no JSON": safe(b"{nope}"),
    "a space first": safe(b" " + json.dumps({"w": entry()}).encode()),
    "an array first": safe(b"[{}]"),
    "bad utf-8": safe(b'{"\xff": 1}'),
    "deep nesting": safe(b'{"a":' * 50_000),
    "deep arrays": safe(b'{"a":' + b"[" * 100_000),
    "a wide header": safe(b'{"a":[' + b"[]," * 2_000_000 + b"[]]}"),
    "bytes behind the JSON": safe(json.dumps({"w": entry()}).encode() + b"x"),
    "a key twice": safe(b'{"w":%s,"w":%s}' % ((json.dumps(entry()).encode(),) * 2)),
    "an inner key twice": safe(b'{"w":{"dtype":"F32","dtype":"F64","shape":[4],"data_offsets":[0,16]}}'),
    "an unknown key": safe({"w": entry(extra=1)}),
    "a missing key": safe({"w": {"dtype": "F32", "shape": [4]}}),
    "a number for an entry": safe({"w": 1}),
    "an unknown dtype": safe({"w": entry("F8_E4M3", (16,))}),
    "a dtype that is a list": safe({"w": entry(["F32"])}),
    "one offset": safe({"w": entry(offsets=(0,))}),
    "offsets backwards": safe({"w": entry(offsets=(16, 0))}),
    "negative offsets": safe({"w": entry(offsets=(-16, 0))}),
    "float offsets": safe({"w": entry(offsets=(0.0, 16.0))}),
    "bool offsets": safe({"w": entry(shape=(), offsets=(False, True))}),
    "infinite offsets": safe(b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,Infinity]}}'),
    "NaN in the shape": safe(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'),
    "an endless number": safe(b'{"w":{"dtype":"F32","shape":[' + b"9" * 100_000 + b'],"data_offsets":[0,16]}}'),
    "offsets past the end": safe({"w": entry(shape=(8,), offsets=(0, 32))}),
    "a gap at the start": safe({"w": entry(shape=(3,), offsets=(4, 16))}),
    "a gap in the middle": safe({"a": entry(shape=(1,), offsets=(0, 4)), "b": entry(shape=(2,), offsets=(8, 16))}),
    "a gap at the end": safe({"w": entry(shape=(3,), offsets=(0, 12))}),
    "an overlap": safe({"a": entry(), "b": entry()}),
    "a part overlap": safe({"a": entry(shape=(3,), offsets=(0, 12)), "b": entry(shape=(2,), offsets=(8, 16))}),
    "a shape too large": safe({"w": entry(shape=(5,))}),
    "a shape too small": safe({"w": entry(shape=(3,))}),
    "a negative shape": safe({"w": entry(shape=(-2, -2))}),
    "a bool shape": safe({"w": entry(shape=(True, 4))}),
    "a shape that wraps": safe({"w": entry(shape=(2**62, 4, 2**2), offsets=(0, 16))}),
    "a shape that is a number": safe({"w": {"dtype": "F32", "shape": 4, "data_offsets": [0, 16]}}),
    "an empty array with a huge side": safe({"w": entry(shape=(0, 2**60), offsets=(0, 0))}, b""),
    "many dimensions": safe({"w": entry(shape=(4,) + (1,) * 40)}),
    "metadata that are a list": safe({"__metadata__": [], "w": entry()}),
    "metadata with a number": safe({"__metadata__": {"a": 1}, "w": entry()}),
    "no arrays": safe({}, b""),
}


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(text, data=b"\0" * 16, version=b"\1\0"):
    raw = text.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<L", len(raw)) + raw + data


class Canary:
    def __reduce__(self):
        import os

        return os.system, ("true",)


PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
NPZ = {
    "objects": npy(np.array([Canary()], object), allow_pickle=True),
    "objects without a pickle": header(PLAIN.replace("<f4", "|O")),
    "a structure": npy(np.zeros(2, [("a", "f4"), ("b", "f4")])),
    "text": npy(np.array(["a", "b"])),
    "dates": npy(np.array(["2020-01-01"], "M8[D]")),
    "void": npy(np.zeros(4, "V4")),
    "long doubles": header(PLAIN.replace("f4", "f16")),
    "no magic": b"\x93NUMPX" + npy(np.zeros(4))[6:],
    "version 9": b"\x93NUMPY\x09\0" + npy(np.zeros(4))[8:],
    "a header past the end": b"\x93NUMPY\1\0\xff\xff" + PLAIN.encode(),
    "a header of 4 GB": b"\x93NUMPY\2\0\xff\xff\xff\xff" + PLAIN.encode(),
    "a long header": header(PLAIN + " " * 20_000),
    "a call in the header": header("__import__('os').system('true')"),
    "an expression in the shape": header(PLAIN.replace("(4,)", "(2+2,)")),
    "a key too many": header(PLAIN.replace("}", "'x': 1, }")),
    "a negative shape": header(PLAIN.replace("(4,)", "(-4,)")),
    "a float shape": header(PLAIN.replace("(4,)", "(4.0,)")),
    "a huge shape": header(PLAIN.replace("(4,)", "(999999999999999999,)")),
    "a shape that wraps": header(PLAIN.replace("(4,)", "(4611686018427387904, 4, 4)")),
    "an empty array with a huge side": header(PLAIN.replace("(4,)", "(0, 99999999999999)"), b""),
    "many dimensions": header(PLAIN.replace("(4,)", "(4, " + "1, " * 40 + "1)")),
    "data too short": npy(np.zeros(4))[:-1],
    "data too long": npy(np.zeros(4)) + b"\0",
    "text that is no Unicode": header("{'descr': '<U1', 'fortran_order': False, 'shape': (), }", b"\xff" * 4),
    "empty": b"",
}


@pytest.mark.parametrize("name", LEGACY)
def test_a_legacy_file_that_lies_is_refused(name, refused):
    refused(LEGACY[name])


@pytest.mark.parametrize("name", TAR)
def test_a_tar_that_lies_is_refused(name, refused):
    refused(TAR[name])


@pytest.mark.parametrize("name", SAFETENSORS)
def test_a_safetensors_file_that_lies_is_refused(name, refused):
    refused(SAFETENSORS[name])


@pytest.mark.parametrize("name", NPZ)
def test_an_npz_file_that_lies_is_refused(name, refused):
    refused(raw_zip([("w.npy", NPZ[name])]))


def test_an_npz_file_holds_npy_members_and_some_array(refused):
    refused(raw_zip([("w.txt", npy(np.zeros(4)))]))
    refused(raw_zip([("npresnet.npy", npy(np.array("{}")))]))


@pytest.mark.parametrize(
    "data",
    [legacy(TREE), old(), safe({"w": entry()}), raw_zip([("w.npy", header(PLAIN))])],
    ids=["legacy", "tar", "safetensors", "npz"],
)
def test_the_honest_file_of_the_same_maker_is_read_and_no_prefix_of_it(data, tmp_path):
    from npresnet.weights import WeightsError, read_weights

    path = tmp_path / "file"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_weights(path)["w"].ravel(), np.zeros(4))
    cut = len(data) - (512 if data[257:262] == b"ustar" else 0)  # a tar ends in zeros, of which one block is enough
    for length in range(0, cut, 1 if cut < 1000 else 7):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            read_weights(path)


@pytest.mark.parametrize(
    "data, words",
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0" * 1000, "not a file of weights"),
        (b"P", ""),
        (PROTO2 + b"}.", "holds no arrays"),
    ],
)
def test_what_is_no_file_of_weights_is_said_to_be_none(data, words, refused):
    assert words in refused(data)


def test_an_empty_file_a_folder_and_nothing_at_all(refused, tmp_path):
    from npresnet.weights import WeightsError, read_weights

    assert "empty" in refused(b"")
    for path, words in ((tmp_path, "this folder holds no file of weights"), (tmp_path / "none.pth", "no such file")):
        with pytest.raises(WeightsError, match=words):
            read_weights(path)
