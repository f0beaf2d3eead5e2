"""Archives that people make around a checkpoint, and files of other programs, told by their first bytes."""

import gzip
import io
import json
import shutil
import struct
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest

from npresnet.formats.containers import read_tree
from npresnet.formats.foreign import STARTS
from npresnet.formats.stream import Budget
from npresnet.formats.zip_archive import ZipArchive
from npresnet.weights import read_weights

from ..support import oracles
from ..support.pickles import legacy, program, pth, raw_zip, storage, tensor

RAW = np.arange(4, dtype="<f4")
PTH = pth(program({"w": tensor()}), data=(("0", RAW.tobytes()),))
OLD = legacy(program({"w": tensor(source=storage(view=(None,)))}), blocks=(struct.pack("<q", 4) + RAW.tobytes(),))


def npz():
    file = io.BytesIO()
    np.savez(file, w=RAW.reshape(2, 2))
    return file.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED, stream=False):
    file = io.BytesIO()
    file.seekable = lambda: not stream
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(members, mode="w", **options):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **options) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.size = (tarfile.DIRTYPE, 0) if name.endswith("/") else (tarfile.REGTYPE, len(data))
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def again(prefix, **options):
    """The .pth unpacked and zipped again, with entries for its folders."""
    with zipfile.ZipFile(io.BytesIO(PTH)) as old:
        members = {name.replace("archive/", prefix): old.read(name) for name in old.namelist()}
    return zipped(({prefix: b"", f"{prefix}data/": b""} if prefix else {}) | members, **options)


ARCHIVES = {
    "gzip": gzip.compress(PTH),
    "gzip of a legacy file": gzip.compress(OLD),
    "zip": zipped({"w.pth": PTH}),
    "zip, stored": zipped({"w.pth": PTH}, zipfile.ZIP_STORED),
    "zip with data descriptors": zipped({"w.pth": PTH}, stream=True),
    "zip with a folder and notes": zipped({"run/": b"", "run/README.md": b"hello", "run/w.safetensors.npz": npz()}),
    "zip by a file manager": zipped({"w.pth": PTH, "__MACOSX/._w.pth": b"x", ".DS_Store": b"x"}),
    "zip of a file without suffix": zipped({"checkpoint": OLD}),
    "tar": tarred({"w.pth": PTH}),
    "tar of pax": tarred({"run/": b"", "run/w.pth": PTH}, format=tarfile.PAX_FORMAT),
    "tar.gz": tarred({"run/": b"", "run/w.pth": PTH, "run/log.txt": b"x"}, "w:gz"),
    "zip in a tar.gz": tarred({"w.zip": zipped({"w.pth": PTH})}, "w:gz"),
    "zipped again": again("w/"),
    "zipped again, in a folder more": again("outer/w/"),
    "zipped again, without a folder": again(""),
    "zipped again with data descriptors": again("w/", stream=True),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_around_one_checkpoint_is_read_through(name, harmless):
    found = harmless(ARCHIVES[name])
    assert list(found) == ["w"] and found["w"].ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not installed")
@pytest.mark.parametrize("command", ["zip -qr w.zip archive", "zip -qr - archive > w.zip", "zip -0qr w.zip archive"])
def test_what_the_program_zip_makes_of_an_unpacked_checkpoint_is_read(command, tmp_path):
    zipfile.ZipFile(io.BytesIO(PTH)).extractall(tmp_path)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert read_weights(tmp_path / "w.zip")["w"].ravel().tolist() == [0, 1, 2, 3]


SEVERAL = {
    "two in a zip": (zipped({"a.pth": PTH, "b.pth": PTH}), "several files of weights: 'a.pth', 'b.pth'"),
    "two in a tar": (tarred({"a.pth": PTH, "b.bin": PTH}), "several files of weights: 'a.pth', 'b.bin'"),
    "two unpacked ones": (
        raw_zip([(f"{name}/data.pkl", program({"w": tensor()})) for name in "ab"]),
        "several checkpoints, 'a/data.pkl', 'b/data.pkl'",
    ),
    "only notes": (zipped({"a.md": b"x", "b.md": b"y"}), "without a file of weights; its members are 'a.md', 'b.md'"),
    "nothing": (zipped({}), "the archive is empty"),
    "a folder": (zipped({"a/": b""}), "the archive is empty"),
    "nested without end": (gzip.compress(gzip.compress(gzip.compress(gzip.compress(PTH)))), "more than 3 archives"),
    "gzip, cut": (gzip.compress(PTH)[:-9] + gzip.compress(PTH)[-8:], "damaged"),
    "gzip that lies": (gzip.compress(PTH)[:-4] + struct.pack("<I", 10), "damaged"),
    "gzip that explodes": (gzip.compress(bytes(2**26)), "past the bound"),
    "two in a gzip": (gzip.compress(PTH) * 2, "several files"),
    "a page in a gzip": (gzip.compress(b"<html></html>"), "web page"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_other_archives_are_one_clear_line(name, refused):
    data, message = SEVERAL[name]
    assert message in refused(data)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_torch_export_saves_is_its_state_dict(dtype, tmp_path):
    torch = oracles.torch()
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval().to(getattr(torch, dtype))
    net.register_buffer("passing", torch.ones(2), persistent=False)
    path = tmp_path / "w.pt2"
    torch.export.save(torch.export.export(net, (torch.ones(1, 3, 8, 8, dtype=getattr(torch, dtype)),)), path)
    found = read_weights(path)
    wanted = net.state_dict()
    assert found.format == "torch export" and set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], (array.float() if array.dtype == torch.bfloat16 else array).numpy())


def pt2_of(table):
    return raw_zip([("e/data/weights/model_weights_config.json", table), ("e/data/weights/0", RAW.tobytes())])


def pt2(entry):
    return pt2_of(json.dumps({"config": {"w": entry}}).encode())


def test_a_storage_of_several_arrays_is_read_once(monkeypatch):
    """Each time its checksum would be made again: of a large one by many arrays, for hours."""
    read, names = ZipArchive.read, []
    monkeypatch.setattr(ZipArchive, "read", lambda archive, name: names.append(name) or read(archive, name))
    table = {name: ENTRY | {"tensor_meta": META | {"storage_offset": i}} for i, name in enumerate("abc")}
    _, found, _ = read_tree(memoryview(pt2_of(json.dumps({"config": table}).encode())), Budget(1000), {})
    assert [tensor.offset for tensor in found.values()] == [0, 1, 2]
    assert names == ["e/data/weights/model_weights_config.json", "e/data/weights/0"]


def test_a_table_in_another_encoding_is_no_json(refused):
    """Python would find out which it is, and import what decodes it."""
    for encoding in ("utf-16-le", "utf-32-be"):
        assert "no JSON" in refused(pt2_of('{"config": {}}'.encode(encoding)))


META = {"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}}
ENTRY = {"path_name": "0", "use_pickle": False, "tensor_meta": META}
BAD = {
    "pickle": ENTRY | {"use_pickle": True},
    "no such member": ENTRY | {"path_name": "../../x"},
    "dtype": ENTRY | {"tensor_meta": META | {"dtype": 9}},
    "too long": ENTRY | {"tensor_meta": META | {"sizes": [5]}},
    "negative": ENTRY | {"tensor_meta": META | {"strides": [-1]}},
    "a symbol": ENTRY | {"tensor_meta": META | {"sizes": [{"as_expr": "s0"}]}},
    "float8": ENTRY | {"tensor_meta": META | {"dtype": 29}},
    "no entry": [],
    "nothing": {},
}


@pytest.mark.parametrize("name", BAD)
def test_a_table_of_torch_export_that_lies_is_refused(name, refused, harmless):
    assert harmless(pt2(ENTRY))["w"].tolist() == [0, 1]
    assert "'w'" in refused(pt2(BAD[name]))


# --- other programs -------------------------------------------------------------------------------------------------


def mxnet(arrays, names=None):
    """As NDArray::Save writes them since version 1."""
    body = struct.pack("<3Q", 0x112, 0, len(arrays))
    for array in arrays.values():
        code = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64").index(array.dtype.name)
        body += struct.pack(f"<IiI{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape)
        body += struct.pack("<3i", 1, 0, code) + array.tobytes()
    names = arrays if names is None else names
    return body + struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(n)) + n.encode() for n in names)


def packed(value):
    """msgpack, as flax writes it."""
    if isinstance(value, np.ndarray):
        content = packed([list(value.shape), value.dtype.name, value.tobytes()])
        return b"\xc8" + struct.pack(">Hb", len(content), 1) + content
    if isinstance(value, dict):
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(x) for pair in value.items() for x in pair)
    if isinstance(value, list):
        return bytes([0x90 + len(value)]) + b"".join(map(packed, value))
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack(">H", len(value)) + value
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value.encode())]) + value.encode()
    return {None: b"\xc0", True: b"\xc3", False: b"\xc2"}[value] if value is None or value is True else bytes([value])


ARRAYS = {"conv_weight": RAW.reshape(2, 2), "counts": np.arange(3, dtype=np.int64), "half": np.ones((1, 2), np.float16)}


def test_mxnet_s_params_are_read(harmless):
    found = harmless(mxnet({f"arg:{name}": array for name, array in ARRAYS.items()}))
    assert list(found) == list(ARRAYS) and found.format == "mxnet"
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    assert list(harmless(mxnet(ARRAYS, ()))) == ["0", "1", "2"]


def test_flax_s_msgpack_is_read():
    layers = {"Conv_0": {"kernel": RAW.reshape(2, 2)}, "Dense_0": {"kernel": ARRAYS["half"], "bias": ARRAYS["counts"]}}
    chunks = {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 4}, "chunks": {"0": RAW, "1": RAW}}
    data = packed({"params": {**layers, "big": chunks}, "step": 7, "rest": None})
    budget = Budget(len(data))
    format, tree, _ = read_tree(memoryview(data), budget, {})
    assert (format, tree["step"], tree["rest"]) == ("msgpack", 7, None)
    for path, wanted in (
        (("Conv_0", "kernel"), RAW.reshape(2, 2)),
        (("Dense_0", "kernel"), ARRAYS["half"]),
        (("Dense_0", "bias"), ARRAYS["counts"]),
        (("big",), np.stack([RAW, RAW])),
    ):
        node = tree["params"]
        for part in path:
            node = node[part]
        np.testing.assert_array_equal(node.array(budget), wanted)


HOSTILE = {
    "mxnet, many arrays": struct.pack("<3Q", 0x112, 0, 2**40),
    "mxnet, many sizes": struct.pack("<3QII", 0x112, 0, 1, 0xF993FAC9, 0) + struct.pack("<I", 2**31),
    "mxnet, sparse": struct.pack("<3QIi", 0x112, 0, 1, 0xF993FAC9, 1) + bytes(64),
    "mxnet, cut": mxnet(ARRAYS)[:-3],
    "mxnet, one name": mxnet({"a": RAW, "arg:a": RAW}),
    "mxnet, bytes behind": mxnet(ARRAYS) + b"x",
    "mxnet, a dtype": mxnet(ARRAYS).replace(struct.pack("<3i", 1, 0, 0), struct.pack("<3i", 1, 0, 99)),
    "msgpack, deep": b"\x81\xa1a" * 5_000 + b"\xc0",
    "msgpack, deep lists": b"\x81\xa1a" + b"\x91" * 5_000 + b"\xc0",
    "msgpack, a huge map": b"\xdf\xff\xff\xff\xff\xa1a",
    "msgpack, a huge list": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "msgpack, a huge text": b"\x81\xdb\xff\xff\xff\xff",
    "msgpack, many small arrays": b"\x81\xa1a\xdd\0\0\x60\0" + 24_576 * b"\xc7\x0a\1\x93\x90\xa4int8\xc4\1\1",
    "msgpack, a key twice": b"\x82\xa1a\xc0\xa1a\xc0",
    "msgpack, a number for a key": b"\x82\xa1a\xc0\x01\xc0",
    "msgpack, another extension": b"\x81\xa1a\xd4\x07\x00",
    "msgpack, no such code": b"\x81\xa1a\xc1",
    "msgpack, bytes behind": b"\x81\xa1a\xc0\xc0",
    "msgpack, a dtype": packed({"a": np.array(["x"])}),
    "msgpack, an array that lies": packed({"a": RAW}).replace(b"\x91\x04", b"\x91\x05"),
    "msgpack, chunks of nothing": packed({"a": {"__msgpack_chunked_array__": True, "shape": {}, "chunks": {}}}),
    "msgpack, chunks of texts": packed(
        {"a": {"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {"0": 1}}}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_lies_or_explodes_in_them_is_refused(name, refused):
    refused(HOSTILE[name])


FOREIGN = {
    **{words: (bytes(at) + magic + bytes(600), words) for at, magic, words in STARTS if at == 0},
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(99), "tf2onnx --tflite"),
    "ExecuTorch": (b"\x38\0\0\0ET12" + bytes(99), "ExecuTorch"),
    "Caffe": (b"\x0a\x0aResNet-50x"[:2] + b"ResNet-50x\xa2\x06\x10" + bytes(99), "Caffe model"),
    "Caffe, old": (b"\x0a\x09CaffeNet1\x12\x30" + bytes(99), "Caffe model"),
    "a TensorFlow graph": (b"\x0a\x30\x0a\x05input\x12\x0bPlaceholder" + bytes(99), "a TensorFlow graph"),
    "a SavedModel": (b"\x08\x01\x12\xd3\x8a\x02\x0a\x30" + bytes(99), "a TensorFlow SavedModel"),
    "a TensorFlow checkpoint": (b"\0\0\x0b" + bytes(99) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "TensorFlow checkpoint"),
    "Core ML": (b"\x08\x01\x12\x4a\x0a\x18\x0a\x05image" + bytes(99), "a Core ML model"),
    "Core ML, newer": (b"\x08\x05\x12\xca\x01\x0a\x18\x0a\x05image" + bytes(99), "a Core ML model"),
    "OpenVINO": (b'<?xml version="1.0"?><net name="x">', "OpenVINO"),
    "JSON": (b'{"model_type": "resnet"}', "a text in JSON"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_programs_are_named_with_the_way_to_convert_them(name, refused):
    data, words = FOREIGN[name]
    assert words in refused(data)
