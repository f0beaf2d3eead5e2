"""ONNX files: what is read of graphs of every shape, where the arrays may lie, and what is refused."""

import os
import re

import numpy as np
import pytest

from npresnet import WeightsError
from npresnet.formats.containers import read_tree
from npresnet.formats.onnx import wire
from npresnet.formats.state import State
from npresnet.formats.stream import Budget
from npresnet.weights import read_weights

from ..support import onnx_graphs
from ..support.onnx_graphs import constant, file, floats, norm, window


def read(data):
    """(format, tree, metadata)"""
    return read_tree(memoryview(data), Budget(len(data)), {})


def state(data):
    found = read(data)[1]
    assert isinstance(found, State)
    return found


def kinds(found):
    return {path: layer.kind for path, layer in found.layers.items()}


def test_a_graph_becomes_layers_in_the_order_in_which_they_run():
    """The branch before the shortcut, whatever stands first in the file."""
    found = state(onnx_graphs.plain())
    assert (
        list(kinds(found).values())
        == (
            "Conv2d BatchNorm2d ReLU MaxPool2d Conv2d BatchNorm2d LeakyReLU Conv2d BatchNorm2d Conv2d BatchNorm2d Add "
            "ReLU AdaptiveAvgPool2d Linear"
        ).split()
    )
    assert list(found)[:6] == [
        "0.conv.weight",
        *(f"1.norm.{role}" for role in ("weight", "bias", "running_mean", "running_var")),
        "4.conv.weight",
    ]
    assert [found[f"{i}.conv.weight"].size for i in (4, 7, 9)] == [(4, 2, 3, 3), (4, 4, 3, 3), (4, 2, 1, 1)]
    assert found.layers["0.conv"].options["stride"] == (2, 2) and found.layers["0.conv"].options["padding"] == (1, 1)
    assert found.layers["1.norm"].options == {"eps": 1e-3} and found.layers["5.norm"].options == {"eps": 1e-5}
    assert found.layers["6.act"].options == {"negative_slope": 0.2}


def test_what_converters_leave_is_looked_through():
    found = state(onnx_graphs.converted())
    assert found.layers["0.conv"].options["padding"] == (1, 1)  # of the Pad in front
    assert found["0.conv.weight"].size == (2, 3, 3, 3) and found["12.fc.weight"].size == (5, 4)
    assert kinds(found)["1.norm"] == "BatchNorm2d" and kinds(found)["2.act"] == "SiLU"
    assert {"4.se.fc1.weight", "4.se.fc2.weight", "12.fc.bias"} <= found.keys()
    assert found.layers["9.pool"] == ("Subsample", {"stride": (2, 2)})
    assert found.layers["10.pad"] == ("ZeroPadChannels", {"before": 1, "after": 1})


def test_turned_kernels_keep_their_values():
    kernel = floats(3, 3, 2, 4)  # HWIO
    data = file([("Transpose", "k", "w", {"perm": (3, 2, 0, 1)}), ("Conv", "x w", "y", window(3))], {"k": kernel})
    array = state(data)["0.conv.weight"].array(Budget(1000))
    np.testing.assert_array_equal(array, kernel.transpose(3, 2, 0, 1))


def test_a_chain_of_factors_and_terms_is_one_norm():
    rng = np.random.default_rng(0)
    a, b, c, d = (rng.uniform(0.5, 2, (4, 1, 1)).astype("<f4") for _ in range(4))
    nodes = [
        ("Conv", "x w wb", "0", window(3)),
        ("Sub", "0 a", "1", {}),
        ("Div", "1 b", "2", {}),
        ("Mul", "c 2", "3", {}),
        ("Add", "3 d", "y", {}),
    ]
    found = state(file(nodes, {"w": floats(4, 3, 3, 3), "wb": floats(4), "a": a, "b": b, "c": c, "d": d}))
    gamma, beta, mean, var = (
        found[f"1.norm.{role}"].array(Budget(100)) for role in ("weight", "bias", "running_mean", "running_var")
    )
    x = rng.standard_normal((4, 1, 1))
    eps = found.layers["1.norm"].options["eps"]
    ours = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + eps) * gamma[:, None, None] + beta[:, None, None]
    np.testing.assert_allclose(ours, (x - a) / b * c + d, rtol=1e-5)


@pytest.mark.parametrize(
    "pads, stride, expected",
    [
        ((1, 1, 1, 1), 1, (1, 1)),
        ((0, 0, 1, 1), 2, "same"),  # of TensorFlow, for an even image
        ((1, 1, 0, 0), 2, ((1, 0), (1, 0))),
        ((0, 1, 0, 1), 1, (0, 1)),
    ],
)
def test_paddings(pads, stride, expected):
    attributes = {**window(3, stride), "pads": pads}
    found = state(file([("Conv", "x w", "y", attributes)], {"w": floats(4, 3, 3, 3)}))
    assert found.layers["0.conv"].options["padding"] == expected


def test_pytorchs_names_are_kept_where_all_are():
    arrays = {"a.weight": floats(4, 3, 1, 1), "b.weight": floats(4, 4, 1, 1), "b.bias": floats(4)}
    nodes = [("Conv", "x a.weight", "1", window(1)), ("Conv", "1 b.weight b.bias", "y", window(1))]
    assert list(state(file(nodes, arrays))) == list(arrays)
    arrays["other"] = arrays.pop("b.bias")
    nodes[1] = ("Conv", "1 b.weight other", "y", window(1))
    assert list(state(file(nodes, arrays))) == ["0.conv.weight", "1.conv.weight", "1.conv.bias"]


# -- where numbers stand --------------------------------------------------------------------------------------------


def with_tensor(*parts, name="w", beside=()):
    """A file with one convolution whose weight is that TensorProto."""
    tensor = wire.message(*parts, (8, name))
    attributes = [(5, wire.message((1, "kernel_shape"), (8, 1), (8, 1), (20, 7)))]
    conv = wire.message((1, "x"), (1, "w"), (2, "y"), (4, "Conv"), *attributes)
    graph = wire.message((1, conv), (5, tensor), *beside, (11, wire.message((1, "x"))), (12, wire.message((1, "y"))))
    return b"".join(map(bytes, wire.message((1, 8), (7, graph), (8, wire.message((2, 17))))))


SHAPE = [(1, size) for size in (2, 3, 1, 1)]
VALUES = np.arange(6, dtype="<f4") / 4


def packed(values):
    return b"".join(wire.code(int(value) % 2**64) for value in values)


@pytest.mark.parametrize(
    "parts",
    [
        [(2, 1), (9, VALUES.tobytes())],
        [(2, 1), (4, VALUES.tobytes())],
        [(2, 1), (4, VALUES[:4].tobytes()), (4, VALUES[4:].tobytes())],
        [(2, 10), (9, VALUES.astype("<f2").tobytes())],
        [(2, 10), (5, packed(VALUES.astype("<f2").view("<u2")))],
        [(2, 10), *((5, int(bits)) for bits in VALUES.astype("<f2").view("<u2"))],
        [(2, 16), (9, (VALUES.view("<u4") >> 16).astype("<u2").tobytes())],
        [(2, 11), (10, VALUES.astype("<f8").tobytes())],
    ],
    ids=["raw", "float_data", "in two pieces", "raw halves", "halves in int32_data", "unpacked", "bfloat16", "double"],
)
def test_every_field_of_numbers(parts):
    array = state(with_tensor(*SHAPE, *parts))["0.conv.weight"].array(Budget(1000))
    np.testing.assert_array_equal(array.reshape(-1), VALUES)


def test_the_library_reads_what_is_written_and_the_reverse(tmp_path):
    onnx = pytest.importorskip("onnx")
    for write in onnx_graphs.GRAPHS.values():
        onnx.checker.check_model(onnx.load_from_string(write()))
    values = [0, 1, -1, 127, 128, 300, 2**31, -(2**63), 2**63 - 1]
    theirs = onnx.helper.make_tensor("w", onnx.TensorProto.INT64, [len(values)], values)
    assert theirs.int64_data == list(wire.packed_array(memoryview(packed(values)), Budget(1000)))


# -- beside the file ------------------------------------------------------------------------------------------------


def outside(location, offset=None, length=None):
    entries = {"location": location, "offset": offset, "length": length}
    pairs = [(13, wire.message((1, key), (2, str(value)))) for key, value in entries.items() if value is not None]
    return with_tensor(*SHAPE, (2, 1), *pairs, (14, 1))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net" / "part").mkdir(parents=True)
    for path in ("net/w.data", "net/part/w.data", "secret"):
        (tmp_path / path).write_bytes(b"\7" * 8 + VALUES.tobytes() + b"\7" * 8)
    os.symlink(tmp_path / "secret", tmp_path / "net" / "link")
    os.symlink(tmp_path / "net" / "part", tmp_path / "net" / "linked")
    return tmp_path / "net"


@pytest.mark.parametrize("location", ["w.data", "./w.data", "part/w.data"])
def test_arrays_beside_the_file(folder, location):
    (folder / "a.onnx").write_bytes(outside(location, 8, 24))
    np.testing.assert_array_equal(read_weights(folder / "a.onnx")["0.conv.weight"].reshape(-1), VALUES)


@pytest.mark.parametrize(
    "location, offset, length, message",
    [
        ("../secret", 8, 24, "cannot be called"),
        ("part/../../secret", 8, 24, "cannot be called"),
        ("SECRET", 8, 24, "cannot be called"),
        ("", 8, 24, "cannot be called"),
        (".", 8, 24, "cannot be called"),
        ("part//w.data", 8, 24, "cannot be called"),
        ("c:\\w.data", 8, 24, "cannot be called"),
        ("w\0.data", 8, 24, "cannot be called"),
        ("x" * 2000, 8, 24, "cannot be called"),
        ("link", 8, 24, "symbolic link"),
        ("linked/w.data", 8, 24, "symbolic link"),
        ("part", 8, 24, "directory"),
        ("none.data", 8, 24, "no such file"),
        ("w.data", 30, 24, "end at byte 54 of a file of 40"),
        ("w.data", 8, 20, "declares 24 bytes and has 20"),
        ("w.data", -1, 24, "is none"),
        ("w.data", 2**70, 24, "is none"),
        ("w.data", 8, "24x", "is none"),
    ],
)
def test_nothing_outside_the_folder_is_read(folder, location, offset, length, message):
    location = str(folder.parent / "secret") if location == "SECRET" else location
    (folder / "a.onnx").write_bytes(outside(location, offset, length))
    with pytest.raises(WeightsError, match=message):
        read_weights(folder / "a.onnx")


def test_from_memory_no_file_is_opened():
    with pytest.raises(WeightsError, match="lie in another file"):
        state(outside("w.data", 8, 24))


CONV = ("Conv", "x w", "1", window(3))


def test_what_another_reads_is_not_left_out():
    """A Sigmoid that more than x · Sigmoid(x) reads, rows that more than the columns are taken of."""
    gate = [CONV, ("Sigmoid", "1", "s", {}), ("Mul", "1 s", "2", {}), ("Add", "2 s", "y", {})]
    assert [layer.kind for layer in layers_of(gate)] == ["Conv2d", "Sigmoid", "Mul", "Add"]
    numbers = {"s": 0, "e": 2**62, "a": 2, "b": 3, "t": 2}
    rows = ("Slice", "1 s e a t", "2", {})
    cuts = [*(constant(name, value) for name, value in numbers.items()), CONV, rows, ("Slice", "2 s e b t", "3", {})]
    assert [layer.options.get("stride") for layer in layers_of(cuts, "3")] == [(1, 1), (2, 2)]
    both = layers_of([*cuts, ("Sum", "2 3", "y", {})])
    assert [layer.options.get("stride") for layer in both] == [(1, 1), (2, 1), (1, 2), None]


def layers_of(nodes, output="y"):
    return list(state(file(nodes, {"w": floats(4, 3, 3, 3)}, outputs=(output,))).layers.values())


# -- hostile --------------------------------------------------------------------------------------------------------


def graph(nodes, arrays=None, **options):
    return lambda: file(nodes, {"w": floats(4, 3, 3, 3), **(arrays or {})}, **options)


REST = [*SHAPE, (2, 1), (9, VALUES.tobytes())]
HOSTILE = {
    "nothing behind the version": (b"\x08\x08\x12", "truncated"),
    "a field past the end": (b"\x08\x08\x3a\xff\xff\xff\xff\x0f", "truncated"),
    "a number of 11 bytes": (b"\x08\x08\x08" + b"\xff" * 10 + b"\1", "64 bits"),
    "a group": (b"\x08\x08\x0b", "wire type 3"),
    "a number for a graph": (b"\x08\x08\x38\x01", "a number stands where a message"),
    "no graph": (b"\x08\x08\x10\x01", "no convolution"),
    "no convolution": (graph([("Relu", "x", "y", {})]), "no convolution"),
    "a circle": (graph([("Add", "x b", "a", {}), ("Relu", "a", "b", {}), ("Relu", "b", "y", {})]), "before it is made"),
    "an operator that reads itself": (graph([("Relu", "y", "y", {})]), "before it is made"),
    "a value made twice": (graph([CONV, CONV]), "made twice"),
    "an array made again": (graph([("Conv", "x w", "w", window(3))]), "made twice"),
    "control flow": (graph([CONV, ("If", "1", "y", {})]), "control flow"),
    "an unknown operator": (graph([CONV, ("NonMaxSuppression", "1", "y", {})]), "in no ResNet"),
    "an operator of two lines": (graph([CONV, ("a\n\2b", "1", "y", {})]), r"a\?\?b \('y'\) is in no ResNet"),
    "a product of two images": (graph([CONV, ("Mul", "1 1", "y", {})]), "joins two paths"),
    "a difference of two": (graph([CONV, ("Sub", "1 1", "y", {})]), "joins two paths"),
    "images that are normalised": (
        graph([("Sub", "x m", "0", {}), ("Conv", "0 w", "y", window(3))], {"m": floats(3, 1, 1)}),
        "without its preprocessing",
    ),
    "a weight that is computed": (graph([("Relu", "w", "v", {}), ("Conv", "x v", "y", window(3))]), "no constant of 4"),
    "a weight of two axes": (graph([("Conv", "x v", "y", window(3))], {"v": floats(4, 3)}), "no constant of 4 axes"),
    "an empty weight": (graph([("Conv", "x v", "y", window(3))], {"v": floats(0, 3, 1, 1)}), "no constant of 4 axes"),
    "a norm of too few arrays": (
        graph([CONV, ("BatchNormalization", "1 a", "y", {})], {"a": floats(4)}),
        "no constant",
    ),
    "negative pads": (graph([("Conv", "x w", "y", {**window(3), "pads": (-1, 0, 0, 0)})]), "no padding of four sides"),
    "pads of two": (graph([("Conv", "x w", "y", {**window(3), "pads": (1, 1)})]), "no padding of four sides"),
    "a stride of 0": (graph([("Conv", "x w", "y", window(3, 0))]), "no strides of two sides"),
    "a stride of floats": (graph([("Conv", "x w", "y", {**window(3), "strides": (1.0, 1.5)})]), "no strides"),
    "same, but lower": (graph([("Conv", "x w", "y", {"auto_pad": "SAME_LOWER"})]), "only SAME_UPPER"),
    "groups of 0": (graph([("Conv", "x w", "y", {**window(3), "group": 0})]), "no number of groups"),
    "axes turned twice": (
        graph([("Transpose", "w", "v", {"perm": (0, 0, 1, 1)}), ("Conv", "x v", "y", window(3))]),
        "permutes the axes",
    ),
    "a mean over channels": (graph([CONV, ("ReduceMean", "1", "y", {"axes": (1,)})]), "other axes"),
    "a reflecting pad": (
        graph(
            [
                constant("p", 0, 0, 1, 1, 0, 0, 1, 1),
                ("Pad", "x p", "0", {"mode": "reflect"}),
                ("Conv", "0 w", "y", window(3)),
            ]
        ),
        "does not blur as the family",
    ),
    "another part of images": (
        graph([CONV, *(constant(n, v) for n, v in (("s", 1), ("e", 9), ("a", 2))), ("Slice", "1 s e a", "y", {})]),
        "another part",
    ),
    "scores that are scaled": (
        graph(
            [CONV, ("Flatten", "1", "2", {}), ("MatMul", "2 f", "3", {}), ("Mul", "3 t", "y", {})],
            {"f": floats(4, 5), "t": floats(1)},
        ),
        "changes the classifier's scores",
    ),
    "quantized weights": (
        graph(
            [("DequantizeLinear", "q s", "v", {}), ("Conv", "x v", "y", window(3))],
            {"q": np.ones((4, 3, 3, 3), np.int8), "s": floats(1)},
        ),
        "quantized",
    ),
    "two arrays of one name": (
        lambda: with_tensor(
            *SHAPE, (2, 1), (9, VALUES.tobytes()), beside=[(5, wire.message((1, 0), (2, 1), (8, "w")))]
        ),
        "two arrays",
    ),
    "a huge shape": (lambda: with_tensor(*[(1, 2**40)] * 2, (2, 1), (9, b"1234")), "below 2⁶³"),
    "a shape of too many numbers": (lambda: with_tensor(*[(1, 2)] * 4, (2, 1), (9, b"1234")), "64 bytes and has 4"),
    "a negative size": (lambda: with_tensor((1, -2), (2, 1), (9, b"")), "a size is negative"),
    "too many axes": (lambda: with_tensor(*[(1, 1)] * 40, (2, 1), (9, b"1234")), "more than 32 dimensions"),
    "texts in an array": (lambda: with_tensor((1, 1), (2, 8), (6, "a")), "ONNX's type 8"),
    "numbers in two fields": (lambda: with_tensor((1, 1), (2, 1), (9, b"1234"), (4, b"1234")), "several fields"),
    "numbers in the field of others": (lambda: with_tensor((1, 1), (2, 1), (10, b"12345678")), "another type"),
    "a packed number cut off": (lambda: with_tensor((1, 1), (2, 10), (5, b"\xff")), "truncated"),
    "a packed number of 11 bytes": (lambda: with_tensor((1, 1), (2, 10), (5, b"\xff" * 10 + b"\1")), "64 bits"),
    "sparse arrays": (lambda: with_tensor(*SHAPE, (2, 1), (9, VALUES.tobytes()), beside=[(15, b"")]), "sparse"),
    "a name that is no text": (lambda: with_tensor(*SHAPE, (2, 1), (9, VALUES.tobytes()), name=b"\xff"), "damaged"),
    "empty operators": (lambda: with_tensor(*REST, beside=[(1, b"")] * 50_000), "past the bound"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(refused, name):
    data, message = HOSTILE[name]
    data = data() if callable(data) else data
    said = refused(data)
    assert re.search(message, said), said


@pytest.mark.parametrize(
    "more, message",
    [
        ([(12, wire.message((1, "a")))] * 1000, "past the bound"),
        ([(1, wire.message((2, "a" * 40)))] * 100, "past the bound"),
        ([(5, wire.message((1, 0), (2, 1), (8, f"a{i}"))) for i in range(100)], "past the bound"),
        ([(16, 1)] * 3000, "too many steps"),
    ],
    ids=["outputs", "operators", "arrays", "fields that nobody reads"],
)
def test_everything_is_paid_for(more, message):
    data = with_tensor(*REST, beside=more)
    budget = Budget(0, 50_000)
    budget.steps = 2000
    with pytest.raises(WeightsError, match=message):
        read_tree(memoryview(data), budget, {})


def named_many_times():
    """One large convolution, many times, each of which would get a norm of its own."""
    arrays = {"w": np.ones((2**18, 1, 1, 1), "<f4"), **norm("n", 1)}
    nodes = [("BatchNormalization", "x n.0 n.1 n.2 n.3", "y0", {})]
    for i in range(40):
        nodes += [("Conv", f"y{i} w w", f"c{i}", window(1)), ("Relu", f"c{i}", f"y{i + 1}", {})]
    return file(nodes, arrays, outputs=("y40",))


def of_many_outputs():
    node = [(1, "x")] * 6000 + [(2, f"o{i}") for i in range(6000)] + [(2, "o0"), (4, "Sum")]
    return with_tensor(*REST, beside=[(1, wire.message(*node))])


def many_floats():
    attribute = wire.message((1, "a"), (7, bytes(10_000_000)))
    return with_tensor(*REST, beside=[(1, wire.message((1, "x"), (2, "z"), (4, "Relu"), (5, attribute)))])


DEAR = {
    "an operator that is read many times": (
        graph([("Sum", "x " * 8000, "b", {}), ("Sum", "b " * 8000, "y", {})]),
        "joins two paths",
    ),
    "an operator of many outputs": (of_many_outputs, "made twice"),
    "one convolution many times": (named_many_times, "a batch norm would take"),
    "an attribute of many floats": (many_floats, "too many steps"),
}


@pytest.mark.parametrize("name", DEAR)
def test_what_grows_faster_than_the_file_is_refused_in_good_time(refused, name):
    make, message = DEAR[name]
    assert message in refused(make(), seconds=2)


def test_a_deep_graph_is_no_recursion():
    arrays = {"w": floats(4, 3, 1, 1)}
    nodes = [("Conv", "x w", "v0", window(1)), *(("Relu", f"v{i}", f"v{i + 1}", {}) for i in range(5000))]
    assert len(state(file(nodes, arrays, outputs=("v5000",))).layers) == 5001


def test_of_several_outputs_the_deepest_is_the_networks():
    arrays = {"w": floats(4, 3, 1, 1), "v": floats(4, 4, 1, 1), **norm("n", 4)}
    nodes = [("Conv", "x w", "a", window(1)), ("Conv", "a v", "b", window(1))]
    assert len(state(file(nodes, arrays, outputs=("b", "a")))) == 2
