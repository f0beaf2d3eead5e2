"""Pickles that would run code, lie or explode in other readers: each is refused, by name where it asks for a global."""

import os
import pickle
import re
import struct

import pytest

from npresnet.formats.torch.allowlist import TORCH_GLOBALS
from npresnet.weights import WeightsError, unpickle

from ..support.pickles import (
    MARK,
    ORDERED,
    PROTO2,
    call,
    glob,
    legacy,
    num,
    program,
    pth,
    storage,
    tar,
    tensor,
    text,
    value,
)

TWO = (("0", b"\0" * 16), ("1", b"\0" * 16))
REBUILD = "torch._utils _rebuild_tensor"
SHELL = 'touch "$HOME/canary"'


class Exploit:
    def __reduce__(self):
        return os.system, (SHELL,)


def reduced(name, *args):
    return program(call(name, *args))


def stacked(module, name, *args):
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + value(tuple(args)) + b"R."


INERT_GLOBALS = {  # pickle → the name by which unpickle() refuses it where no records are asked for
    "os.system": (reduced("os system", SHELL), "os.system"),
    "posix.system": (reduced("posix system", SHELL), "posix.system"),
    "a real exploit": (pickle.dumps(Exploit(), 2), "posix.system"),
    "a real exploit, protocol 0": (b"\x80\x00" + pickle.dumps(Exploit(), 0), "posix.system"),
    "a real exploit, protocol 4": (pickle.dumps({"state_dict": Exploit()}, 4), "posix.system"),
    "eval": (reduced("builtins eval", "1"), "builtins.eval"),
    "exec": (reduced("__builtin__ exec", "1"), "__builtin__.exec"),
    "getattr": (reduced("builtins getattr", glob("collections OrderedDict"), "fromkeys"), "builtins.getattr"),
    "__import__": (reduced("builtins __import__", "os"), "builtins.__import__"),
    "apply": (reduced("__builtin__ apply", glob("os system"), (SHELL,)), "__builtin__.apply"),
    "stack global": (stacked("os", "system", SHELL), "os.system"),
    "dotted": (stacked("collections", "OrderedDict.__init__.__globals__"), "OrderedDict.__init__"),
    "dotted module": (stacked("torch._utils._rebuild_tensor_v2", "__globals__"), "__globals__"),
    "dotted in GLOBAL": (reduced("collections OrderedDict.fromkeys", []), "OrderedDict.fromkeys"),
    "numpy": (reduced("numpy.testing._private.utils runstring", SHELL, {}), "runstring"),
    "numpy.load": (reduced("numpy load", "/etc/passwd"), "numpy.load"),
    "memmap": (reduced("numpy memmap", "/tmp/x", "w+"), "numpy.memmap"),
    "torch.load": (reduced("torch load", "x"), "torch.load"),
    "torch.hub": (reduced("torch.hub load", "x/y"), "torch.hub.load"),
    "torch jit": (reduced("torch.jit.unsupported_tensor_ops execWrapper", SHELL, {}, {}), "execWrapper"),
    "torch._utils import": (reduced("torch._utils _import_dotted_name", "os.system"), "_import_dotted_name"),
    "from_file": (reduced("torch.storage UntypedStorage.from_file", "/etc/passwd"), "from_file"),
    "pip": (reduced("pip main", ["install", "x"]), "pip.main"),
    "pydoc": (reduced("pydoc pipepager", "x", SHELL), "pydoc.pipepager"),
    "runpy": (reduced("runpy _run_code", "1", {}), "runpy._run_code"),
    "timeit": (reduced("timeit timeit", "1"), "timeit.timeit"),
    "bdb": (reduced("bdb Bdb.run", "1"), "bdb.Bdb.run"),
    "code": (reduced("code InteractiveInterpreter.runcode", 1), "runcode"),
    "functools": (reduced("functools partial", glob("os system"), SHELL), "functools.partial"),
    "operator": (reduced("operator attrgetter", "system"), "operator.attrgetter"),
    "ssl": (reduced("ssl get_server_certificate", ("evil", 443)), "ssl.get_server_certificate"),
    "urllib": (reduced("urllib.request urlopen", "http://localhost:1"), "urllib.request.urlopen"),
    "socket": (reduced("socket create_connection", ("localhost", 1)), "socket.create_connection"),
    "weakref": (reduced("weakref finalize", [], glob("os system"), SHELL), "weakref.finalize"),
    "newobj": (program(glob("os system") + value((SHELL,)) + b"\x81"), "os.system"),
    "newobj_ex": (b"\x80\x04" + glob("subprocess Popen") + value((SHELL,)) + b"}\x92.", "subprocess.Popen"),
    "obj": (PROTO2 + MARK + glob("os system") + text(SHELL) + b"o.", "os.system"),
    "inst": (PROTO2 + MARK + text(SHELL) + b"ios\nsystem\n.", "os.system"),
    "build with a class": (program(glob("argparse Namespace") + b")\x81" + value({"a": 1}) + b"b"), "Namespace"),
    "a whole module": (reduced("torchvision.models.resnet ResNet"), "torchvision.models.resnet.ResNet"),
    "a whole module of mine": (program(glob("__main__ Net") + b")\x81}b"), "__main__.Net"),
    "the class of records": (reduced("npresnet.formats.unpickle.record Record", "x"), "Record"),
    "nested in a wrapper": (program({"epoch": 3, "state_dict": {"w": call("os system", SHELL)}}), "os.system"),
    "in a dictionary's factory": (program(call("collections defaultdict", call("os system", SHELL))), "os.system"),
    "behind a long name": (program(glob("a" * 900 + " b")), "aaaa"),
    "with control characters": (program(glob("os\x1b[2J system")), "x1b"),
}

REFUSED_PROGRAMS = {
    "extension registry 1": PROTO2 + b"\x82\x01.",
    "extension registry 2": PROTO2 + b"\x83\x01\x00.",
    "extension registry 4": PROTO2 + b"\x84\x01\x00\x00\x00.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "read-only buffer": b"\x80\x05\x97\x98.",
    "bytearray8": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "an unknown opcode": PROTO2 + b"\xff.",
    "no stop": PROTO2 + b"N",
    "empty stack": PROTO2 + b".",
    "pop from nothing": PROTO2 + b"0.",
    "mark never opened": PROTO2 + b"t.",
    "memo never stored": PROTO2 + b"h\7.",
    "memo of nothing": PROTO2 + b"q\7.",
    "long memo index": PROTO2 + b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe.",
    "get by a long number": PROTO2 + b"g" + b"9" * 500 + b"\n.",
    "call a string": program(text("os.system") + value((SHELL,)) + b"R"),
    "call with a list": program(glob("collections OrderedDict") + b"]R"),
    "call a tensor": program(tensor() + b")R"),
    "call a dtype": program(glob("torch FloatStorage") + value((10**12,)) + b"R"),
    "set items of a tensor": program(tensor() + value("a") + b"Ns"),
    "set items of a tuple": program(b")" + value("a") + b"Ns"),
    "set an odd number of items": program(b"}(Nu"),
    "append to a dict": program(b"}Na"),
    "append to a tensor": program(tensor() + b"Na"),
    "additems to a list": b"\x80\x04](N\x90.",
    "build a dict": program(b"}}b"),
    "build a list": program(b"]" + value({"append": 1}) + b"b"),
    "build a global": program(glob("collections OrderedDict") + value({"x": 1}) + b"b"),
    "build an OrderedDict with a list": program(ORDERED + b"]b"),
    "build a tensor with a dict": program(tensor() + value({"data": 1}) + b"b"),
    "build a tensor with a string": program(tensor() + value(("a", 1, 2, 3, 4)) + b"b"),
    "build a tensor with four strings": program(tensor() + value(("a", 0, (1,), (1,))) + b"b"),
    "exponential hash": program(b"}" + b")" + b"2\x86" * 60 + b"Ns"),
    "exponential hash in a set": b"\x80\x04\x8f()" + b"2\x86" * 60 + b"\x90.",
    "tensor as a key": program(b"}" + tensor() + b"Ns"),
    "float as a key": program({0.5: 1}),
    "huge integer as a key": program({2**200: 1}),
    "a list as a key of an OrderedDict": program(call("collections OrderedDict", [[[], 1]])),
    "an OrderedDict of a string": program(call("collections OrderedDict", "ab")),
    "an OrderedDict of a number": program(call("collections OrderedDict", 10**9)),
    "bytes of a number": program(call("_codecs encode", 10**12, "latin1")),
    "bytes through a codec": program(call("_codecs encode", "x", "zlib")),
    "a size that is no sequence": program(call("torch Size", 10**9)),
    "a quadratic bomb": PROTO2
    + b"]("
    + b"K\1K\2\x86" * 2000
    + b"eq\0"
    + (glob("collections OrderedDict") + b"h\0\x85R0") * 3000
    + b".",
    "long string": PROTO2 + b"X\xff\xff\xff\xffa.",
    "long string 8": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "long bytes 8": b"\x80\x04\x8e" + struct.pack("<Q", 2**63 - 1) + b"a.",
    "long bytes": b"\x80\x03B\xff\xff\xff\x7fa.",
    "negative length of a string": PROTO2 + b"T\xff\xff\xff\xffa.",
    "long integer 4": PROTO2 + b"\x8b\xff\xff\xff\x7f\1.",
    "negative long integer 4": PROTO2 + b"\x8b\xff\xff\xff\xff\1.",
    "a frame that lies": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "a frame past the end": b"\x80\x04\x95" + struct.pack("<Q", 500) + b"N.",
    "decimal integer": PROTO2 + b"L" + b"9" * 900 + b"x\n.",
    "an endless line": PROTO2 + b"I" + b"9" * 5000 + b"\n.",
    "an escaped string": PROTO2 + b"S'a\\x41'\n.",
    "a string without quotes": PROTO2 + b"Sa\n.",
    "bad float": PROTO2 + b"Fnope\n.",
    "bad utf-8": PROTO2 + b"X\1\0\0\0\xff.",
    "a surrogate": program(text("\ud800")),
    "a global in bad utf-8": PROTO2 + b"c\xff\n\xfe\n.",
    "a global that is a number": b"\x80\x04K\1K\2\x93.",
    "deep lists": PROTO2 + b"]" * 60_000 + b"a" * 59_999 + b".",
    "deep tuples": PROTO2 + b")" + b"\x85" * 60_000 + b".",
    "deep marks": PROTO2 + b"(" * 60_000 + b".",
    "many steps": PROTO2 + b"N0" * 600_000 + b".",
    "a memo bomb": PROTO2
    + b"]q\0"
    + b"".join(b"](h" + bytes([i]) + (b"h" + bytes([i])) * 9 + b"eq" + bytes([i + 1]) for i in range(200))
    + b".",
    "no arrays": program({"a": 1, "b": [2.0]}),
    "a list": program([1, 2]),
    "a number": program(7),
    "itself for ever": PROTO2 + b"}q\0" + text("state_dict") + b"h\0s.",
    "wrapped for ever": PROTO2 + (b"}" + text("state_dict")) * 50 + b"}" + b"s" * 50 + b".",
    "one name in two spellings": b"\x80\x03}" + text("a") + tensor() + b"sC\1a" + tensor() + b"s.",
    "an array named by bad bytes": b"\x80\x03}C\2\xff\xfe" + tensor() + b"s.",
}


def beside(tree, array):
    """{"w": an array, "x": what the pickle ``tree`` makes}"""
    return PROTO2 + b"}" + MARK + text("w") + array + text("x") + tree[tree[:1] == b"\x80" and 2 :][:-1] + b"u."


@pytest.mark.parametrize("container", [pth, legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", INERT_GLOBALS)
def test_a_global_outside_the_allow_list_is_data_beside_the_arrays(name, container, harmless, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    array = tensor(storage(view=(None,) if container is legacy else ()))
    found = harmless(container(beside(INERT_GLOBALS[name][0], array)))
    assert list(found) == ["w"] and found["w"].tolist() == [[0, 0], [0, 0]]
    assert found.notes == ["left out what is no array: 'x'"]


@pytest.mark.parametrize("name", INERT_GLOBALS)
def test_alone_it_is_no_network_in_any_container(name, refused, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    tree, _ = INERT_GLOBALS[name]
    members = [("pickle", tree), ("storages", program(0) + program([])), ("tensors", program(0))]
    for data in (pth(tree, data=()), legacy(tree, (), ()), tar(members), tree):
        message = refused(data)
        assert "holds" in message and "\x1b" not in message


@pytest.mark.parametrize("name", INERT_GLOBALS)
def test_without_records_a_global_outside_the_allow_list_is_refused_by_name(name):
    tree, shown = INERT_GLOBALS[name]
    with pytest.raises(WeightsError, match=re.escape(shown)) as caught:
        unpickle(tree, globals=TORCH_GLOBALS)
    assert str(caught.value).startswith("pickle: refused global") and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", REFUSED_PROGRAMS)
def test_a_program_that_lies_or_explodes_is_refused(name, refused):
    refused(pth(REFUSED_PROGRAMS[name]))


@pytest.mark.parametrize("name", [name for name, tree in REFUSED_PROGRAMS.items() if len(tree) < 10_000])
def test_the_same_in_a_legacy_file(name, refused):
    refused(legacy(REFUSED_PROGRAMS[name]))


def test_a_name_with_control_characters_is_escaped_and_an_endless_one_refused(refused):
    assert r"'a\n\x1b[2J'" in refused(pth(program({"a\n\x1b[2J": tensor(size=(9, 9))})))
    assert "more than 1,000 characters" in refused(pth(program({"module." * 100_000 + "a": tensor()})))


UNREADABLE = {  # a call → what the message must say where it is needed
    "quantised": (
        call("torch._utils _rebuild_qtensor", storage(kind="torch QInt8Storage", numel=16), 0),
        "dequantize()",
    ),
    "sparse": (call("torch._utils _rebuild_sparse_tensor", 0, (1, 2)), "to_dense()"),
    "nested": (call("torch._utils _rebuild_nested_tensor", tensor()), "to_padded_tensor"),
    "meta": (call("torch._utils _rebuild_meta_tensor_no_storage", 0, (1,), (1,), False), "no data"),
    "a class of its own": (call("torch._utils _rebuild_wrapper_subclass", 0, 0), "a plain one"),
    "a dtype that is not known": (
        call(f"{REBUILD}_v3", storage(), 0, (1,), (1,), False, ORDERED, glob("torch complex32")),
        "'complex32' is not read",
    ),
    "float8": (
        call(f"{REBUILD}_v3", storage(), 0, (1,), (1,), False, ORDERED, glob("torch float8_e5m2")),
        "float8_e5m2 is not read",
    ),
    "conjugate": (call(f"{REBUILD}_v2", storage(), 0, (1,), (1,), False, ORDERED, {"conj": True}), "resolve_conj"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_array_that_cannot_be_read_is_told_apart_only_where_it_is_needed(name, refused, harmless):
    made, shown = UNREADABLE[name]
    assert shown in refused(pth(program({"a": made})))
    assert list(harmless(pth(program({"state_dict": {"w": tensor(source=storage("1"))}, "other": made}), TWO))) == ["w"]


VIEWS = {
    "past the end": tensor(size=(5,), stride=(1,)),
    "offset past the end": tensor(offset=1),
    "negative offset": tensor(offset=-1),
    "huge offset": tensor(offset=2**62),
    "huge offset, wraps": tensor(offset=2**64 - 3),
    "negative stride": tensor(stride=(-2, 1)),
    "huge stride": tensor(stride=(2**62, 1)),
    "huge stride, wraps": tensor(stride=(2**63, 1)),
    "negative size": tensor(size=(-2, -2)),
    "huge size": tensor(size=(2**40, 2**40), stride=(0, 0)),
    "stride 0 bomb": tensor(size=(2**20, 2**10), stride=(0, 0)),
    "empty with a huge side": tensor(size=(0, 2**62), stride=(1, 1)),
    "many dimensions": tensor(size=(1,) * 40, stride=(1,) * 40),
    "sizes and strides differ": tensor(size=(2, 2), stride=(1,)),
    "a size that is a float": tensor(size=(2.0, 2), stride=(2, 1)),
    "a size that is not a number": tensor(size=(float("nan"), 2), stride=(2, 1)),
    "a size that is a bool": tensor(size=(True, 2), stride=(2, 1)),
    "a size that is a string": tensor(size=("2", 2), stride=(2, 1)),
    "a stride that is None": tensor(size=(2, 2), stride=(None, 1)),
    "an offset that is a bool": tensor(offset=True),
    "sizes in a list": tensor(size=[2, 2], stride=[2, 1]),
    "sizes in a string": tensor(size="22", stride="21"),
    "no storage": tensor(source=value("0")),
    "a global for a storage": tensor(source=glob("torch FloatStorage")),
    "too few arguments": call(f"{REBUILD}_v2", storage()),
    "too many arguments": call(f"{REBUILD}_v2", storage(), *range(40)),
    "a dtype that is a string": call(f"{REBUILD}_v3", storage(), 0, (1,), (1,), False, ORDERED, "float32"),
    "a parameter of a string": call("torch._utils _rebuild_parameter", "data", True, ORDERED),
    "a parameter of a parameter's class": call("torch.nn.parameter Parameter", glob("torch.nn.parameter Parameter")),
}
STORAGES = {
    "the record is shorter": storage(numel=5),
    "the record is longer": storage(numel=3),
    "another item size": storage(kind="torch DoubleStorage"),
    "negative count": storage(numel=-4),
    "bool count": storage(numel=True),
    "float count": storage(numel=4.0),
    "huge count": storage(numel=2**62),
    "count that wraps": storage(numel=2**62 + 4),
    "no such record": storage(key="7"),
    "a key that climbs": storage(key="../../data.pkl"),
    "a key that is a number": storage(key=0),
    "a type that is a string": value(("storage", "FloatStorage", "0", "cpu", 4)) + b"Q",
    "a type that is a function": storage(kind="torch._utils _rebuild_parameter"),
    "another kind of id": value(("tensor", glob("torch FloatStorage"), "0", "cpu", 4)) + b"Q",
    "an id that is a string": value("storage") + b"Q",
    "an id of two items": value(("storage", "0")) + b"Q",
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_that_does_not_fit_its_storage_is_refused(name, refused):
    refused(pth(program({"w": VIEWS[name]})))


@pytest.mark.parametrize("name", STORAGES)
def test_a_storage_that_is_not_what_it_says_is_refused(name, refused):
    refused(pth(program({"w": tensor(source=STORAGES[name])})))


def test_one_storage_under_two_types_is_refused(refused):
    other = tensor(source=storage(kind="torch IntStorage"))
    assert "two ways" in refused(pth(program({"a": tensor(), "b": other})))


def test_many_arrays_of_one_storage_are_bounded(refused):
    """60 bytes of pickle each, 1 MiB of array: tied arrays are copies, so their sum is bounded."""
    raw = b"\0" * 2**20
    shared = tensor(source=b"h\0", size=(2**18,), stride=(1,))
    pairs = b"".join(text(f"w{i}") + shared for i in range(400))
    tree = PROTO2 + storage(numel=2**18) + b"q\x000}" + MARK + pairs + b"u."
    assert "max_bytes" in refused(pth(tree, data=(("0", raw),)))


def test_the_bound_can_be_lowered_and_raised(refused, tmp_path):
    from npresnet.weights import read_weights

    data = pth(program({"w": tensor(size=(2**11, 2**11), stride=(0, 0))}))
    assert "bound of 1,000" in refused(data, max_bytes=1000)
    path = tmp_path / "hostile"
    assert read_weights(path, max_bytes=2**25)["w"].shape == (2048, 2048)
    assert num(4) in data
