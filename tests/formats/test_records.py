"""Objects of any class are data, and pickled networks are their state dict and layers, as torch itself says."""

import argparse
import collections
import datetime
import enum
import io
import pathlib
import pickle

import numpy as np
import pytest

from npresnet.formats.containers import read_tree
from npresnet.formats.state import State
from npresnet.formats.stream import Budget
from npresnet.formats.tensors import Tensor
from npresnet.formats.torch.allowlist import TORCH_GLOBALS
from npresnet.formats.unpickle.record import Record
from npresnet.formats.unpickle.unpickle import unpickle
from npresnet.weights import WeightsError

from ..support import oracles
from ..support.pickles import PROTO2, glob, legacy, num, program, pth, tar, tensor, text, value


def tree(data):
    return read_tree(memoryview(data), Budget(len(data)), TORCH_GLOBALS)[1]


def objects(data):
    return unpickle(data, globals=TORCH_GLOBALS, records=True)


def array(found):
    return found.array(Budget(2**20))


class Colour(enum.Enum):
    RED = 1


class Config(dict):
    pass


class Named(list):
    def __init__(self, name):
        self.name = name

    def __reduce_ex__(self, protocol):
        return Named, (self.name,), None, iter(self)


RECORDS = {  # object → its name, args, state, items, pairs, where they are other than empty
    "namespace": (argparse.Namespace(lr=0.1), {"name": "argparse.Namespace", "state": {"lr": 0.1}}),
    "path": (pathlib.PurePosixPath("runs"), {"args": ("runs",)}),
    "date": (datetime.datetime(2024, 1, 2), {"name": "datetime.datetime"}),
    "enum": (Colour.RED, {"name": f"{__name__}.Colour", "args": (1,)}),
    "dict of a class": (Config(a=1), {"name": f"{__name__}.Config", "pairs": [("a", 1)]}),
    "list of a class": (Named("x"), {"args": ("x",), "items": []}),
    "class": (argparse.Namespace, {"name": "argparse.Namespace", "args": None}),
    "function": (np.mean, {"kind": "mean", "args": None}),
    "objects": (np.array([1, "a"], object), {"name": "numpy.ndarray"}),
    "words": (np.array(["a"]), {"name": "numpy.ndarray"}),
    "dates": (np.array(["2024-01-01"], "M8[D]"), {"name": "numpy.ndarray"}),
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", RECORDS)
def test_an_object_of_any_class_is_a_record_of_what_the_pickle_says(name, protocol):
    thing, wanted = RECORDS[name]
    found = objects(pickle.dumps(thing, protocol))
    assert isinstance(found, Record)
    assert {field: getattr(found, field) for field in wanted} == wanted


def test_protocol_0_rebuilds_by_a_function_whose_first_argument_is_the_class():
    found = objects(pickle.dumps(argparse.Namespace(lr=0.1), 0))
    assert (found.name, found.state) == ("argparse.Namespace", {"lr": 0.1})


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_and_arrays_of_numpy_are_numbers_and_tensors(protocol):
    scalars = [np.float64(0.5), np.int8(-3), np.bool_(True), np.complex64(1j), np.float16(2), np.uint64(2**63)]
    found = objects(pickle.dumps([*scalars, *scalars], protocol))
    assert found == [scalar.item() for scalar in scalars] * 2
    arrays = {
        "plain": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
        "scalar": np.array(7),
        "empty": np.zeros((0, 2), np.float32),
        "bools": np.array([True, False]),
    }
    state = tree(pth(pickle.dumps({"state_dict": arrays, "w": (arrays["plain"], 1)}, protocol), data=()))
    for name, wanted in arrays.items():
        np.testing.assert_array_equal(array(state["state_dict"][name]), wanted)
    assert isinstance(state["w"][0], Tensor)


def test_a_large_array_of_protocol_2_is_paid_for_in_bytes():
    wanted = np.random.default_rng(0).standard_normal(2**18)
    np.testing.assert_array_equal(array(tree(pickle.dumps({"w": wanted}, 2))["w"]), wanted)


def test_a_long_text_becomes_bytes_as_often_as_it_is_asked_for():
    letters = "\x00\x7f\x80\xff" * 2000
    encode = glob("_codecs encode") + b"q\0"
    twice = encode + text(letters) + b"q\1" + text("latin1") + b"q\2\x86Rh\0h\1h\2\x86R\x86."
    assert objects(PROTO2 + twice) == (letters.encode("latin1"),) * 2
    alone = objects(PROTO2 + encode + text(letters) + b"\x86.")[1]
    assert isinstance(alone, Record) and alone.name == "builtins.str"  # which no writer leaves
    assert objects(PROTO2 + text(letters) + b".") == letters
    for other, codec in ((letters, "zlib"), ("\u0100" * 9000, "latin1"), ("\ud800" * 9000, "latin1")):
        with pytest.raises(WeightsError, match=r"_codecs\.encode"):
            objects(PROTO2 + encode + text(other) + text(codec) + b"\x86R.")


def test_numbers_of_python_2_are_read_from_either_spelling_of_their_bytes():
    dtype = glob("numpy dtype") + value(("f4", 0, 1)) + b"R" + value((3, "<", None, None, None, -1, -1, 0)) + b"b"
    for number in (1.5, -2.0, 3e30, 0.1):
        raw = np.float32(number).tobytes()
        scalar = glob("numpy.core.multiarray scalar") + dtype + b"U\4" + raw + b"\x86R."
        assert objects(PROTO2 + scalar) == float(np.float32(number))


def test_keys_that_python_hashes_are_kept_and_those_that_are_dear_become_records():
    keys = {(0, 1): 3, 0.5: 1, 1j: 2, None: 0, b"b": 5, -1: 6, True: 7}
    assert objects(pickle.dumps(keys)) == keys
    (nested, huge, frozen) = objects(pickle.dumps({(1, (2,)): 1, 2**200: 2, frozenset({3}): 4}))
    assert [nested.args, huge.args, frozen.args] == [((1, (2,)),), (2**200,), ({3},)]
    assert objects(pickle.dumps([{1}, frozenset({2}), bytearray(b"a"), collections.deque([1]), 2j])) == [
        {1},
        {2},
        bytearray(b"a"),
        [1],
        2j,
    ]


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_long_log_is_bounded_by_its_size_not_by_a_count(protocol):
    log = {"loss": [i * 0.5 for i in range(50_000)], "rows": [{"epoch": i, "acc": i / 7} for i in range(10_000)]}
    log["scores"] = [np.float64(i) for i in range(5_000)]
    data = pickle.dumps(log, protocol)
    budget = Budget(len(data))
    budget.steps = 1_000
    assert unpickle(data, globals=TORCH_GLOBALS, budget=budget, records=True) == log


# --- networks -------------------------------------------------------------------------------------------------------


def network():
    torch = oracles.torch()

    class Sized(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
            self.bn = torch.nn.BatchNorm2d(4, eps=1e-3)
            self.act = torch.nn.LeakyReLU(0.2)
            self.body = torch.nn.Sequential(torch.nn.MaxPool2d(3, 2, ceil_mode=True), torch.nn.Identity())
            self.again = self.conv
            self.scale = torch.nn.Parameter(torch.ones(2))
            self.sizes = [1, 2]
            self.register_buffer("kept", torch.zeros(3))
            self.register_buffer("passing", torch.zeros(3), persistent=False)
            self.register_buffer("absent", None)

        def forward(self, x):
            return self.body(self.act(self.bn(self.conv(x)))) * self.scale.sum() + self.kept.sum()

    Sized.__qualname__ = "Sized"
    globals()["Sized"] = Sized  # where pickle looks for it
    return Sized().eval()


def saved(thing, **options):
    file = io.BytesIO()
    oracles.torch().save(thing, file, **options)
    return file.getvalue()


SAVES = {
    "zip": saved,
    "legacy": lambda thing: saved(thing, _use_new_zipfile_serialization=False),
    "protocol 5": lambda thing: saved(thing, pickle_protocol=5),
    "pickle.dump": pickle.dumps,
    "pickle.dump, protocol 2": lambda thing: pickle.dumps(thing, 2),
}


@pytest.mark.parametrize("how", SAVES)
def test_a_pickled_module_is_its_state_dict_and_its_layers(how):
    torch = oracles.torch()
    module = network()
    plain, parallel, wrapped = (
        tree(SAVES[how](thing))
        for thing in (module, torch.nn.DataParallel(module), {"net": [module], "loss": torch.nn.MSELoss(), "n": 1})
    )
    for state in (plain, parallel, wrapped["net"][0]):
        assert isinstance(state, State) and state.kind == f"{__name__}.Sized"
        wanted = module.state_dict()
        assert list(state) == list(wanted)
        for name, found in state.items():
            np.testing.assert_array_equal(array(found), wanted[name].numpy())
        assert list(state.layers) == [name for name, _ in module.named_modules(remove_duplicate=False)]
        assert state.layers["conv"].kind == "Conv2d" and state.layers["conv"].options["stride"] == (2, 2)
        assert state.layers["bn"].options["eps"] == 1e-3
        assert state.layers["act"] == ("LeakyReLU", {"negative_slope": 0.2, "inplace": False})
        assert state.layers["body.0"].options["ceil_mode"] is True and state.layers[""].options == {"sizes": (1, 2)}
    assert wrapped["n"] == 1 and not wrapped["loss"]


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_is_read_by_its_attributes(how):
    torch = oracles.torch()
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    made = torch.jit.script(module) if how == "script" else torch.jit.trace(module, torch.ones(1, 3, 8, 8))
    file = io.BytesIO()
    torch.jit.save(made, file)
    state = tree(file.getvalue())
    assert isinstance(state, State) and list(state) == list(module.state_dict())
    for name, wanted in module.state_dict().items():
        np.testing.assert_array_equal(array(state[name]), wanted.numpy())
    assert [layer.kind for layer in state.layers.values()] == ["Sequential", "Conv2d", "BatchNorm2d", "ReLU"]


def test_a_frozen_torchscript_module_has_arrays_without_names():
    torch = oracles.torch()
    linear = torch.nn.Linear(3, 2).eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(linear)), file)
    state = tree(file.getvalue())
    assert sorted(array(found).shape for found in state.values()) == [(2,), (2, 3)]
    assert list(state) == ["0", "1"]


PARTS = {"_parameters": {"w": tensor()}, "_buffers": {}, "_modules": {}}


def test_the_class_of_a_legacy_file_comes_with_its_source():
    kind = value(("module", glob("my Net"), "net.py", "class Net: …")) + b"Q"
    whole = program(kind + b")\x81" + value({**PARTS, "_parameters": {"w": tensor(source=OLD)}}) + b"b")
    assert (tree(legacy(whole)).kind, list(tree(legacy(whole)))) == ("my.Net", ["w"])
    kind = value((glob("my Net"), "net.py", "class Net: …")) + b"Q"
    whole = program(kind + b")\x81" + value({**PARTS, "_parameters": {}}) + b"b")
    members = [("pickle", whole), ("storages", program(0) + program([])), ("tensors", program(0))]
    assert tree(tar(members)).kind == "my.Net"


OLD = value(("storage", glob("torch FloatStorage"), "0", "cpu", 4, None)) + b"Q"


def module(state):
    return glob("my Net") + b")\x81" + value(state) + b"b"


LOOP = PROTO2 + glob("my Net") + b")\x81q\0" + value({**PARTS, "_modules": {"again": b"h\0"}}) + b"b."
DOUBLING = PROTO2 + module(PARTS) + b"".join(
    b"q" + bytes([i]) + module({**PARTS, "_modules": {"a": b"h" + bytes([i]), "b": b"h" + bytes([i])}})
    for i in range(60)
)  # fmt: skip
HOSTILE = {
    "a module in itself": LOOP,
    "modules that double": DOUBLING + b".",
    "a module of long names": PROTO2
    + module(PARTS)
    + b"".join(b"q\0" + module({**PARTS, "_modules": {"n" * 1000: b"h\0"}}) for _ in range(900))
    + b".",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_network_that_grows_by_repetition_is_bounded(name, refused):
    message = refused(pth(HOSTILE[name]), seconds=10)
    assert "past the bound" in message or "too many steps" in message


BESIDE = {
    "a record that holds itself": glob("my A") + b")\x81q\0" + value({"me": b"h\0"}) + b"b",
    "a record in its own arguments": b"]q\0" + glob("my A") + b"h\0\x85Ra",
    "deep records": (glob("my A") + b")\x81") + (b"\x85q\1" + glob("my A") + b"h\1R") * 5_000,
    "a record whose state is huge": glob("my A") + b")\x81" + value(list(range(20_000))) + b"b",
    "states set again and again": glob("my A") + b")\x81" + (value({"a": 1}) + b"b") * 5_000,
    "a memo of records": (glob("my A") + b")\x81q\0") + b"".join(b"0](" + b"h\0" * 50 + b"eq\0" for _ in range(2000)),
    "a key of nested tuples": b"}" + b")" + b"2\x86" * 60 + b"Ns",
    "records as keys": b"}" + (glob("my A") + b")\x81Ns") * 5_000,
    "a call of what a call gave": glob("my A") + b")R)R)R",
    "many names": b"".join(glob(f"my.module A{i}") + b"0" for i in range(5_000)) + b"N",
    "items of a record": glob("my A") + b")\x81(" + num(1) * 10_000 + b"e" + value("a") + b"Ns",
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_hostile_records_beside_arrays_do_nothing(name, harmless):
    data = PROTO2 + b"}(" + text("w") + tensor() + text("x") + BESIDE[name] + b"u."
    assert list(harmless(pth(data), seconds=10)) == ["w"]
