"""Files that are cheap to store and dear to read, that change meanwhile, or that raise what is no WeightsError."""

import json
import mmap
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest

import npresnet
from npresnet.formats import limits
from npresnet.formats.memory import Memory, Pages, inflate, read_before, read_through
from npresnet.weights import WeightsError, load_weights, read_weights, recognise, save_onnx, unpickle
from npresnet.weights import read as reading

from ..fuzz import networks
from ..support import oracles
from ..support.containers import as_tensors
from ..support.pickles import ORDERED, PROTO2, glob, num, program, pth, raw_zip, tensor, text, value

COLLIDING = [k << 40 for k in range(1, 30_001)]  # of one remainder by every table's size
ITEMS = PROTO2 + b"}(" + text("w") + tensor()


def safetensors(entries, metadata=None):
    """A file of float32 arrays of ones: {name: shape}."""
    header, end = {"__metadata__": metadata or {}}, 0
    for name, shape in entries.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + np.ones(end // 4, "<f4").tobytes()


def npy(points, order="<"):
    head = f"{{'descr': '{order}U{len(points)}', 'fortran_order': False, 'shape': (), }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + struct.pack(f"{order}{len(points)}L", *points)


def keras(config):
    machine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = {"config.json": {"method": 8, "packed": machine.compress(config) + machine.flush()}}
    return raw_zip([("config.json", config), ("model.weights.h5", b"\x89HDF")], in_local=packed, in_central=packed)


COSTLY = {
    "integer keys that collide": pth(ITEMS + b"".join(num(key) + b"N" for key in COLLIDING) + b"u."),
    "integer keys that collide, one by one": pth(
        PROTO2 + b"}" + text("w") + tensor() + b"s" + b"".join(num(key) + b"Ns" for key in COLLIDING) + b"."
    ),
    "integers of a set that collide": pth(PROTO2 + b"\x8f(" + b"".join(map(num, COLLIDING)) + b"\x90."),
    "pairs that collide, again and again": pth(
        PROTO2
        + value([(key, 0) for key in COLLIDING[:2000]])
        + b"q\0"
        + (glob("collections OrderedDict") + b"(h\0tR0") * 1000
        + b"."
    ),
    "a memo of scattered numbers": pth(
        PROTO2 + b"N" + b"".join(b"r" + struct.pack("<I", key % 2**32) for key in range(0, 2**32, 2**20)) + b"."
    ),
    "a configuration of a million objects": keras(b'{"config":{"layers":[' + b"{}," * 2_000_000 + b"{}]}}"),
    "sizes beyond any file": pth(program({"w": tensor(size=(2**62,) * 32, stride=(0,) * 32)})),
    "sizes of six hundred digits": pth(program({"w": tensor(size=(2**2000,), stride=(1,))})),
    "code points beyond Unicode": raw_zip([("a.npy", npy([ord("a"), 0x10000, 0x7FFFFFFF]))]),
    "code points beyond Unicode, big-endian": raw_zip([("a.npy", npy([0x110000, 1], ">"))]),
    "half a surrogate pair": raw_zip([("a.npy", npy([0xD800]))]),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_is_dear_to_read_is_refused(name, refused):
    refused(COSTLY[name], seconds=5)


LONG = text("k" * 100_000)
SEVERAL = b"".join(
    text(f"a{i}") + value({"w": tensor(size=(1,), stride=(1,), offset=i % 4)}) + b"s" for i in range(300)
)


@pytest.mark.parametrize(
    "tree, message",
    [
        (LONG + b"}" + SEVERAL + b"s", "holds no arrays"),
        (b"".join(text(f"a{i}") + b"}" + LONG + tensor() + b"ss" for i in range(2)), "more than 1,000 characters"),
    ],
    ids=["of a dictionary", "of an array"],
)
def test_long_names_are_not_multiplied(tree, message, refused):
    """Each array's name begins with its path, which a file holds once."""
    assert message in refused(pth(PROTO2 + b"}" + tree + b"."), seconds=2)


def test_honest_integers_are_read(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(pth(ITEMS + b"".join(num(7 * key) + b"N" for key in range(20_000)) + b"u."))
    assert list(read_weights(path)) == ["w"]
    assert unpickle(b"\x80\4\x8c\1aq\5\x94h\5.", globals={}) == "a"  # a memo with gaps, as pickletools leaves


def test_metadata_of_a_million_values_are_refused_before_they_are_parsed(tmp_path):
    metadata = "[" + "[]," * 1_000_000 + "[]]"
    path = tmp_path / "w.pth"
    path.write_bytes(pth(PROTO2 + ORDERED + text("w") + tensor() + b"s" + value({"npresnet": metadata}) + b"b."))
    with pytest.raises(WeightsError, match="the metadata under 'npresnet' would take"):
        recognise(read_weights(path))


# --- a file that changes --------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"w": (4,)}))
    size = limits.size_of
    monkeypatch.setattr(limits, "size_of", lambda file: size(file) + 2**24)
    with pytest.raises(WeightsError, match="it was cut to"):
        read_weights(path)
    monkeypatch.setattr(limits, "size_of", lambda file: 2**60)
    with pytest.raises(WeightsError, match="more than this machine's memory"):
        read_weights(path)


def test_what_is_read_is_what_was_hashed(tmp_path, monkeypatch):
    path, check = tmp_path / "w.safetensors", reading.check_name
    path.write_bytes(safetensors({"w": (4,)}))

    def between(name, sha256):
        check(name, sha256)
        path.write_bytes(path.read_bytes()[:-16] + b"\xff" * 16)

    monkeypatch.setattr(reading, "check_name", between)
    assert read_weights(path)["w"].tolist() == [1, 1, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pages may keep their bytes")
def test_what_is_given_back_is_gone(tmp_path):
    path, page = tmp_path / "file", mmap.PAGESIZE
    path.write_bytes(b"x" * (3 * page + 5))
    view = Memory(path).view
    read_before(view[: page - 1])
    read_before(view[page + 7 :])
    assert bytes(view) == bytes(page) + b"x" * (2 * page + 5) and view.readonly
    read_through(view[page + 1 :])
    assert bytes(view) == bytes(page) + b"x" * page + bytes(page) + b"x" * 5
    read_before(memoryview(b"elsewhere"))
    read_through(memoryview(b"elsewhere"))
    read_before(None)


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, -zlib.MAX_WBITS, 16 + zlib.MAX_WBITS])
def test_large_data_are_inflated_piece_by_piece_into_pages_of_their_own(wbits):
    rng = np.random.default_rng(0)
    for whole in (rng.bytes(2**20), rng.bytes(2**23 + 5), bytes(2**24), rng.bytes(999) * 9999):
        machine = zlib.compressobj(1, wbits=wbits)
        packed = machine.compress(whole) + machine.flush()
        content = inflate(memoryview(packed), len(whole), wbits)
        assert isinstance(content.obj, Pages) and content.readonly and bytes(content) == whole
        for damaged in (packed[:-1], packed + b"x", packed[: len(packed) // 2], b""):
            assert inflate(memoryview(damaged), len(whole), wbits) is None
        for size in (len(whole) - 1, len(whole) + 1):
            assert inflate(memoryview(packed), size, wbits) is None


def test_pages_are_given_back_only_where_nobody_reads_again(tmp_path):
    """Arrays of several pages, in another order than the file's, two of them over one storage."""
    torch = oracles.torch()
    path, big = tmp_path / "w.pth", torch.arange(50_000.0)
    state = {"last": torch.full((30_000,), 3.0), "view": big[100:], "first": big, "turned": big.reshape(100, 500).T}
    for old in (False, True):
        torch.save(dict(reversed(state.items())), path, _use_new_zipfile_serialization=not old)
        found = read_weights(path)
        assert list(found) == list(reversed(state))
        for name, array in state.items():
            np.testing.assert_array_equal(found[name], array.numpy())


PEAK = """
import sys, npresnet, npresnet.data
from npresnet.weights import read_weights
def field(name):  # of this process: the system hands a parent's peak down in what getrusage() says
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
before = field("VmRSS")
def adapt(path):
    return npresnet.create_model("resnet34", weights=path, num_classes=5)
{"read": read_weights, "load": npresnet.load_model, "adapt": adapt}[sys.argv[1]](sys.argv[2])
print(field("VmHWM") - before)
"""


def torch_module(path, model):
    """The whole network of torchvision's, pickled; its weights are its own."""
    oracles.torch().save(oracles.torchvision_models().resnet34(), path)


def torch_legacy(path, model):
    state = as_tensors(model.state_dict())
    oracles.torch().save(state, path, _use_new_zipfile_serialization=False)


def zipped(path, model):
    """Packed, with what is packed in a folder."""
    npresnet.save_weights(model, path.with_suffix(".pth"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(path.with_suffix(".pth"), "run/w.pth")


def packed_again(path, model):
    """A .pth whose members are packed."""
    whole = npresnet.save_weights(model, path.with_name("whole.pth"))
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def torch_onnx(path, model):
    """torchvision's network as PyTorch's older exporter writes it, its norms not folded."""
    torch = oracles.torch()
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    network = oracles.torchvision_models().resnet34().eval()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(network, (torch.ones(1, 3, 64, 64),), path, dynamo=False, **kept)


def keras_graph(path, model):
    """A ResNet-152 as a tutorial builds it; the smaller ones took less than their files before, too."""
    pytest.importorskip("keras")
    from ..weights.layouts.table import keras_models  # its kinds in the table's order, whichever test is first

    library = keras_models.imported()
    made, images = keras_models.Builder(library, bias=False), library.Input((64, 64, 3))
    x = made.stages(made.stem(images, 64), made.bottleneck, 64, (3, 8, 36, 3))
    x = library.layers.Dense(1000)(library.layers.GlobalAveragePooling2D()(x))
    library.Model(images, x).save(path)


def numbers(model):
    return {name: array for name, array in model.state_dict().items() if array.dtype == np.float32}


LARGE = {  # the name of the file: what writes it
    "w.pth": lambda path, model: npresnet.save_weights(model, path),
    "w.npz": lambda path, model: npresnet.save_weights(model, path),
    "w.safetensors": lambda path, model: npresnet.save_weights(model, path),
    "w.onnx": lambda path, model: save_onnx(model, path),
    "legacy.pth": torch_legacy,
    "module.pth": torch_module,
    "arrays-2.pkl": lambda path, model: path.write_bytes(pickle.dumps(numbers(model), 2)),
    "arrays.pkl": lambda path, model: path.write_bytes(pickle.dumps(numbers(model), 4)),
    "arrays-5.pkl": lambda path, model: path.write_bytes(pickle.dumps(numbers(model), 5)),
    "w.msgpack": lambda path, model: path.write_bytes(networks.flax(model.state_dict())),
    "w.params": lambda path, model: path.write_bytes(networks.params(numbers(model))),
    "w.zip": zipped,
    "again.pth": packed_again,
    "unfolded.onnx": torch_onnx,
    "graph.keras": keras_graph,
}
SLOW = ("graph.keras",)


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(mmap, "MADV_DONTNEED"), reason="gives no pages back")
@pytest.mark.parametrize(
    "how, name",
    [
        ("read", "w.pth"),
        ("adapt", "w.pth"),
        *(pytest.param("load", name, marks=[pytest.mark.slow] if name in SLOW else []) for name in LARGE),
    ],
)
def test_reading_and_loading_take_less_than_one_and_a_half_times_the_file(how, name, tmp_path):
    path = tmp_path / name
    LARGE[name](path, npresnet.create_model("resnet34"))
    done = subprocess.run([sys.executable, "-c", PEAK, how, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.5 * path.stat().st_size


def test_what_holds_a_graph_is_compared_without_memory_for_its_arrays(tmp_path):
    path = save_onnx(npresnet.create_model("resnet34"), tmp_path / "w.onnx")
    path.write_bytes(path.read_bytes().replace(b"npresnet", b"NPRESNET"))  # without its metadata
    checkpoint = read_weights(path)
    tracemalloc.start()
    assert recognise(checkpoint).name == "resnet34"
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 0.1 * path.stat().st_size


# --- nothing but WeightsErrors --------------------------------------------------------------------------------------

KEYS = (
    "conv1.weight",
    "conv1.0.weight",
    "conv1.3.weight",
    "conv1.6.weight",
    "conv1.bias",
    "fc.weight",
    "fc.bias",
    "layer1.0.conv1.weight",
    "layer1.0.conv2.weight",
    "layer1.0.conv3.weight",
    "layer2.0.downsample.0.weight",
    "layer2.0.downsample.1.weight",
    "layer9.9999.conv1.weight",
    "layer1.0.se.fc1.weight",
    "bn.weight",
    "resnet.embedder.embedder.convolution.weight",
    "conv1_conv/kernel",
    "predictions/kernel",
    "a/gamma",
    "a/kernel",
    f"resnet.encoder.stages.{'9' * 5000}.layers.0.shortcut.convolution.weight",
    "linear.weight",
    f"layer1.0.identity_downsample.{'1' * 5000}",
    "conv2_block1_0_bn/beta",
    "/kernel",
    "",
)
SHAPES = ((), (0,), (1,), (64,), (10, 64), (64, 3, 7, 7), (64, 64, 3, 3), (0, 0, 0, 0), (1, 1, 1, 1), (3, 3, 3, 3, 3))


def test_whatever_the_keys_and_shapes_nothing_but_a_weights_error_is_raised():
    rng, model, refusals = random.Random(0), npresnet.create_model("resnet20"), 0
    for _ in range(1000):
        arrays = {key: np.ones(rng.choice(SHAPES), np.float32) for key in rng.sample(KEYS, rng.randint(1, 8))}
        for use in (recognise, lambda found: load_weights(model, found)):
            with pytest.raises(WeightsError):
                use(arrays)
            refusals += 1
    assert refusals == 2000


@pytest.mark.parametrize(
    "name, shape",
    [
        ("fc.weight", (0, 64)),
        ("conv1.weight", (16, 0, 3, 3)),
        ("fc.weight", (1, 64)),
        ("conv1.weight", (0, 3, 3, 3)),
        ("layer1.0.conv2.weight", (0, 0, 3, 3)),
    ],
)
def test_a_network_of_nothing_is_refused(name, shape, tmp_path):
    state = {**npresnet.create_model("resnet20").state_dict(), name: np.zeros(shape, np.float32)}
    path = npresnet.save_weights(state, tmp_path / "w.npz")
    with pytest.raises(WeightsError):
        npresnet.load_model(path)


@pytest.mark.parametrize(
    "field",
    [
        "stem_width",
        "stem",
        "eps",
        "momentum",
        "shortcut",
        "conv_bias",
        "stride_on",
        "softmax",
        "squeeze",
        "unbiased",
        "nonsense",
        "preprocessing",
        "name",
        "__class__",
    ],
)
@pytest.mark.parametrize("option", [-1, 10**9, float("nan"), True, "x", "deep"])
def test_metadata_are_of_a_model_that_can_be_or_are_refused(field, option, tmp_path):
    saved = npresnet.save_weights(npresnet.create_model("resnet20", num_classes=2), tmp_path / "w.npz")
    found = read_weights(saved)
    fields = json.loads(found.metadata["npresnet"])
    fields["spec"]["options"] = {field: option}
    found.metadata["npresnet"] = json.dumps(fields)
    npresnet.save_weights(dict(found), tmp_path / "changed.npz", metadata=found.metadata)
    try:
        model = npresnet.load_model(tmp_path / "changed.npz")
    except WeightsError as error:
        assert "\n" not in str(error) or "does not fit" in str(error)
    else:
        assert model.spec.options == {field: option}


def test_a_message_has_short_lines_whatever_is_in_it(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"x" * 100_000 + str(i): (1,) for i in range(3)}))
    with pytest.raises(WeightsError) as caught:
        load_weights(npresnet.create_model("resnet20"), path)
    assert max(map(len, str(caught.value).split("\n"))) <= 600 and len(str(caught.value)) < 600 * 1002
    error = WeightsError("start " + "y" * 10**6 + " end\nnext")
    assert len(str(error)) < 620 and str(error).startswith("start y") and str(error).endswith(" end\nnext")
