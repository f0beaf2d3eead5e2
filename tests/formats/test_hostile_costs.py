"""Files that are cheap to store and dear to read, that change meanwhile, or that raise what is no WeightsError."""

import json
import mmap
import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

import npresnet
from npresnet.formats import limits
from npresnet.weights import WeightsError, load_weights, read_weights, recognise, unpickle
from npresnet.weights import read as reading

from ..support import oracles
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
    memory = reading.Memory(path)
    memory.release(memory.start + page + 7)
    assert bytes(memory.view) == bytes(page) + b"x" * (2 * page + 5)
    for elsewhere in (0, memory.start, memory.start + page, memory.start + 10 * page):
        memory.release(elsewhere)
    assert bytes(memory.view) == bytes(page) + b"x" * (2 * page + 5) and memory.view.readonly


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
import resource, sys, npresnet, npresnet.data
from npresnet.weights import read_weights
def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
{"read": read_weights, "load": npresnet.load_model}[sys.argv[1]](sys.argv[2])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(mmap, "MADV_DONTNEED"), reason="gives no pages back")
@pytest.mark.parametrize("how", ["read", "load"])
@pytest.mark.parametrize("suffix", [".pth", ".npz"])
def test_reading_and_loading_take_less_than_one_and_a_half_times_the_file(how, suffix, tmp_path):
    path = npresnet.save_weights(npresnet.create_model("resnet34"), tmp_path / f"w{suffix}")
    done = subprocess.run([sys.executable, "-c", PEAK, how, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.5 * path.stat().st_size


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
