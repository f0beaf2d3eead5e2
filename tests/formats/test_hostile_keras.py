"""Keras files that lie, point elsewhere or are cut short: each ends in a WeightsError of one kind or another."""

import json
import random
import struct
import zipfile

import numpy as np
import pytest

from npresnet import WeightsError, load_model
from npresnet.weights import export_weights, read_weights

h5py = pytest.importorskip("h5py")


def legacy(path, change=lambda group: None, weights=("conv1_conv/kernel:0",)):
    """A small legacy file with one layer."""
    with h5py.File(path, "w") as root:
        root.attrs["layer_names"] = [b"conv1_conv"]
        group = root.create_group("conv1_conv")
        group.attrs["weight_names"] = [name.encode() for name in weights]
        group["conv1_conv/kernel:0"] = np.ones((7, 7, 3, 64), np.float32)
        change(group)
    return path


def replaced(group, make):
    del group["conv1_conv/kernel:0"]
    make(group)


SECRET = b"x" * (4 * 7 * 7 * 3 * 64)
ATTACKS = {
    "an external link": (
        lambda g: replaced(g, lambda g: g.__setitem__("conv1_conv/kernel:0", h5py.ExternalLink("/etc/hostname", "/"))),
        "link to another place",
    ),
    "a soft link": (
        lambda g: replaced(g, lambda g: g.__setitem__("conv1_conv/kernel:0", h5py.SoftLink("/elsewhere"))),
        "link to another place",
    ),
    "external storage": (
        lambda g: replaced(
            g,
            lambda g: g.create_dataset(
                "conv1_conv/kernel:0", (7, 7, 3, 64), "f4", external=[("/tmp/secret", 0, len(SECRET))]
            ),
        ),
        "another file",
    ),
    "a huge declaration": (
        lambda g: replaced(g, lambda g: g.create_dataset("conv1_conv/kernel:0", (2**20, 2**20), "f4")),
        "declares .* bytes and stores 0",
    ),
    "a huge sparse chunk": (
        lambda g: replaced(
            g,
            lambda g: g.create_dataset(
                "conv1_conv/kernel:0", (2**16, 2**16), "f4", chunks=(64, 64), compression="gzip"
            ).__setitem__((0, 0), 1.0),
        ),
        "stored in chunks",
    ),
    "a packed chunk larger than the array": (
        lambda g: replaced(
            g,
            lambda g: g.create_dataset(
                "conv1_conv/kernel:0",
                data=np.ones((2, 2), "f4"),
                maxshape=(None, 2),
                chunks=(2**22, 2),
                compression="gzip",
            ),
        ),
        "stored in chunks",
    ),
    "a name twice": (lambda g: g.attrs.__setitem__("weight_names", [b"conv1_conv/kernel:0"] * 2), "listed twice"),
    "a number for a text": (lambda g: g.file.attrs.__setitem__("npresnet", 7), "'npresnet' is no text"),
    "a number for a configuration": (lambda g: g.file.attrs.__setitem__("model_config", [7, 8]), "is no text"),
    "strings": (lambda g: replaced(g, lambda g: g.create_dataset("conv1_conv/kernel:0", data=b"text")), "no array"),
    "a name that is not there": (lambda g: g.attrs.__setitem__("weight_names", [b"no/such"]), "listed and not there"),
    "a ring of hard links": (lambda g: g.__setitem__("loop", g), "nested without end"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks(tmp_path, attack):
    change, message = ATTACKS[attack]
    with pytest.raises(WeightsError, match=message):
        read_weights(legacy(tmp_path / "net.h5", change))


def test_virtual_datasets(tmp_path):
    def virtual(group):
        layout = h5py.VirtualLayout((7, 7, 3, 64), "f4")
        layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", (7, 7, 3, 64))
        replaced(group, lambda g: g.create_virtual_dataset("conv1_conv/kernel:0", layout))

    with pytest.raises(WeightsError, match="another file"):
        read_weights(legacy(tmp_path / "net.h5", virtual))


def test_the_plain_file_reads(tmp_path):
    arrays = read_weights(legacy(tmp_path / "net.h5"))
    assert {name: array.shape for name, array in arrays.items()} == {"conv1_conv/conv1_conv/kernel": (7, 7, 3, 64)}
    assert arrays.format == "keras h5"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda root: root["layers/conv2d/vars"].create_dataset("1", data=np.zeros((2, 2))), "no convolution"),
        (lambda root: root.__delitem__("layers/conv2d"), "no arrays|no ResNet|holds"),
    ],
)
def test_structural_files(tmp_path, change, message):
    with h5py.File(tmp_path / "net.weights.h5", "w") as root:
        root["layers/conv2d/vars/0"] = np.ones((7, 7, 3, 64), np.float32)
        change(root)
    with pytest.raises(WeightsError, match=message):
        load_model(tmp_path / "net.weights.h5")


def test_a_network_of_layers_without_names_is_ambiguous(tmp_path):
    """What TensorFlow's Keras writes for ResNet50 as .weights.h5: biases, and no name anywhere."""
    with h5py.File(tmp_path / "net.weights.h5", "w") as root:
        for i in range(53):
            root[f"layers/conv2d_{i}/vars/0"] = np.ones((1, 1, 4, 4), np.float32)
            root[f"layers/conv2d_{i}/vars/1"] = np.ones(4, np.float32)
            for j in range(4):
                root[f"layers/batch_normalization_{i}/vars/{j}"] = np.ones(4, np.float32)
        root["layers/dense/vars/0"] = np.ones((4, 2), np.float32)
    with pytest.raises(WeightsError, match=r"no names.*save it as \.keras"):
        load_model(tmp_path / "net.weights.h5")


def test_names_of_another_network_are_not_taken_for_a_tutorials(tmp_path):
    """Old Keras's ResNet50 has as many convolutions as the second tutorial's, and another arithmetic."""
    with h5py.File(tmp_path / "net.h5", "w") as root:
        names = [f"res{i}_branch2a" for i in range(53)] + [f"bn{i}" for i in range(53)] + ["fc1000"]
        root.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            kernel = {"kernel:0": (4, 2) if name == "fc1000" else (1, 1, 4, 4)}
            arrays = {"gamma:0": (4,), "beta:0": (4,)} if name.startswith("bn") else kernel
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{role}".encode() for role in arrays]
            for role, shape in arrays.items():
                group[f"{name}/{role}"] = np.ones(shape, np.float32)
    with pytest.raises(WeightsError, match="called 'res0_branch2a'"):
        load_model(tmp_path / "net.h5")


def test_damage_is_one_kind_of_error(tmp_path):
    """Bytes cut off and bytes changed, of a real file: a WeightsError, or a model where only numbers were hit."""
    from npresnet.models import build

    export_weights(build("resnet50", 2, dialect="keras"), tmp_path / "whole.h5", "keras")
    whole = bytearray((tmp_path / "whole.h5").read_bytes())
    rng, path = random.Random(1), tmp_path / "broken.h5"
    for _ in range(6):
        path.write_bytes(whole[: rng.randrange(len(whole))])
        with pytest.raises(WeightsError):
            load_model(path)
    for _ in range(20):
        broken = bytearray(whole)
        for _ in range(4):
            broken[rng.randrange(4096)] = rng.randrange(256)
        path.write_bytes(broken)
        try:
            load_model(path)
        except WeightsError as error:
            assert str(path) in str(error)


def test_a_keras_archive_is_checked(tmp_path):
    with h5py.File(tmp_path / "inner.h5", "w") as root:
        root["layers/conv2d/vars/0"] = np.ones((7, 7, 3, 64), np.float32)
    inner, empty = (tmp_path / "inner.h5").read_bytes(), json.dumps({"config": {}}).encode()
    for config, weights, message in (
        (b"{", inner, "configuration is no JSON"),
        (empty, b"no hdf5", "no HDF5"),
        (b"[]", inner, "configuration is no JSON object"),
    ):
        with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
            archive.writestr("config.json", config)
            archive.writestr("model.weights.h5", weights)
        with pytest.raises(WeightsError, match=message):
            load_model(tmp_path / "net.keras")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"config": 7},
        {"config": {"layers": 7}},
        {"config": {"layers": [7, {}, {"config": 7}]}},
        {"config": {"layers": [{"class_name": 7, "config": {"name": "a"}}]}},
        {"config": {"layers": [{"class_name": "Dense", "config": {"name": []}}]}},
    ],
)
def test_a_configuration_may_hold_anything(tmp_path, config):
    with h5py.File(tmp_path / "inner.h5", "w") as root:
        root["layers/conv2d/vars/0"] = np.ones((7, 7, 3, 64), np.float32)
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(tmp_path / "inner.h5", "model.weights.h5")
    assert list(read_weights(tmp_path / "net.keras")) == ["layers/conv2d/kernel"]


def test_many_names_that_are_one_long_string(tmp_path):
    """A list of names holds references: 3,900 of them to one string of 50,000 characters would take 186 MiB."""
    with h5py.File(tmp_path / "net.h5", "w") as root:
        root.attrs["layer_names"] = np.array(["x" * 50_000] + ["y"] * 3899, dtype=object)
    data = bytearray((tmp_path / "net.h5").read_bytes())
    start = data.index(struct.pack("<I", 50_000))
    data[start : start + 16 * 3900] = data[start : start + 16] * 3900  # length, heap's address, index
    (tmp_path / "net.h5").write_bytes(data)
    with pytest.raises(WeightsError, match=r"names would take .* past the bound"):
        read_weights(tmp_path / "net.h5")


def referring(path, count):
    """A file with a list of ``count`` names, and where its references (length, heap's address, index) start."""
    with h5py.File(path, "w") as root:
        root.attrs["layer_names"] = np.array(["x" * 1000] + ["y"] * (count - 1), dtype=object)
    data = bytearray(path.read_bytes())
    return data, data.index(struct.pack("<I", 1000))


def test_a_heap_that_never_ends(tmp_path):
    """Its first object is free space of no size: the HDF5 library, which steps by the sizes, never returns."""
    data, _ = referring(tmp_path / "net.h5", 3)
    heap = data.index(b"GCOL")
    data[heap + 16 : heap + 32] = bytes(16)
    (tmp_path / "net.h5").write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(tmp_path / "net.h5")


def test_heaps_inside_each_other(tmp_path):
    """Each object of a heap starts another heap: to read them all would take the square of their number."""
    data, start = referring(tmp_path / "net.h5", 400)
    for i in range(400):
        data[start + 16 * i : start + 16 * (i + 1)] = struct.pack("<IQI", 1, len(data) + 32 * i + 16, 1)
    data += struct.pack("<QQ8sQ", 1, 16, b"GCOL\1\0\0\0", 32 * 300) * 800
    (tmp_path / "net.h5").write_bytes(data)
    with pytest.raises(WeightsError, match="heaps of strings would take"):
        read_weights(tmp_path / "net.h5")


@pytest.mark.parametrize("options", [{"libver": "latest"}, {"track_order": True}, {"userblock_size": 512}])
def test_files_of_newer_kinds_are_refused(tmp_path, options):
    with h5py.File(tmp_path / "net.h5", "w", **options) as root:
        root["layers/conv2d/vars/0"] = np.ones((7, 7, 3, 64), np.float32)
    with pytest.raises(WeightsError, match=r"kind that Keras does not write|not a file of weights"):
        read_weights(tmp_path / "net.h5")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "u2", ">i8", "u8"])
@pytest.mark.parametrize("layout", ["contiguous", "compact"])
def test_arrays_of_every_dtype(tmp_path, dtype, layout):
    array = np.arange(24).reshape(2, 3, 4, 1).astype(dtype)
    with h5py.File(tmp_path / "net.h5", "w") as root:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(getattr(h5py.h5d, layout.upper()))
        group = root.create_group("layers/conv2d/vars").id
        made = h5py.h5d.create(group, b"0", h5py.h5t.py_create(array.dtype), h5py.h5s.create_simple(array.shape), plist)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    found = read_weights(tmp_path / "net.h5")["layers/conv2d/kernel"]
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("count", [1, 9, 300])
def test_groups_of_every_size(tmp_path, count):
    """Three hundred members take a tree of several levels."""
    with h5py.File(tmp_path / "net.h5", "w") as root:
        for i in range(count):
            root[f"layers/conv2d_{i}/vars/0"] = np.full((1, 1, 1, 1), i, np.float32)
    found = read_weights(tmp_path / "net.h5")
    assert {name: int(array.item()) for name, array in found.items()} == {
        f"layers/conv2d_{i}/kernel": i for i in range(count)
    }


def test_h5py_is_not_needed(tmp_path, monkeypatch):
    file = legacy(tmp_path / "net.h5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    assert len(read_weights(file)) == 1
