"""save_weights: what it writes is read by the libraries it is meant for, and appears complete or not at all."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from npresnet.data import Preprocessing
from npresnet.formats.atomic import atomic_write
from npresnet.models import Spec, build
from npresnet.nn import Linear
from npresnet.weights import Checkpoint, WeightsError, read_weights, recognise, save_weights

from ..support import oracles

ROOT = str(Path(__file__).parents[2])
SUFFIXES = (".safetensors", ".npz", ".pth")
RNG = np.random.default_rng(1)
STATE = {
    "a.weight": RNG.standard_normal((3, 2, 5)).astype(np.float32),
    "double": RNG.standard_normal(4),
    "half": np.ones(3, np.float16),
    "count": np.array(7),
    "flag": np.array([True, False]),
    "byte": np.arange(5, dtype="u1"),
    "empty": np.zeros((0, 3), np.float32),
    "fortran": np.asfortranarray(RNG.random((3, 4))),
    "strided": RNG.random((6, 6))[::2, ::-1],
    "big": np.arange(4, dtype=">f4"),
}


def same(found, wanted):
    assert list(found) == list(wanted)
    for key, array in wanted.items():
        assert found[key].dtype == np.asarray(array).dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[key], array)


@pytest.fixture
def model():
    model = build("resnet20", num_classes=3)
    for _, parameter in model.named_arrays():
        if parameter.value.dtype.kind == "f":
            parameter.value = RNG.standard_normal(parameter.value.shape).astype(np.float32)
    model.classes = ("cat", "dög", "bird")
    return model


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_bit_for_bit(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    assert save_weights(STATE, str(path)) == path
    same(read_weights(path), STATE)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_brings_its_metadata_along(suffix, model, tmp_path):
    path = tmp_path / f"w{suffix}"
    model.preprocessing = Preprocessing(40, 32, mean=(0.1, 0.2, 0.3))
    save_weights(model, path)
    found = read_weights(path)
    same(found, model.state_dict())
    fields = json.loads(found.metadata["npresnet"])
    assert fields["spec"] == json.loads(model.spec.to_json()) and fields["classes"] == ["cat", "dög", "bird"]
    read = recognise(found)
    assert (read.name, read.num_classes, read.classes, read.source) == ("resnet20", 3, model.classes, "metadata")
    assert read.preprocessing == model.preprocessing


@pytest.mark.parametrize("old", SUFFIXES)
@pytest.mark.parametrize("new", SUFFIXES)
def test_any_container_becomes_any_other_with_its_metadata(old, new, model, tmp_path):
    save_weights(model, tmp_path / f"old{old}")
    save_weights(read_weights(tmp_path / f"old{old}"), tmp_path / f"new{new}")
    found = read_weights(tmp_path / f"new{new}")
    same(found, model.state_dict())
    assert recognise(found).classes == model.classes


def test_torch_reads_a_pth_with_weights_only_and_loads_it(model, tmp_path):
    torch = oracles.torch()
    path = tmp_path / "w.pth"
    save_weights(STATE, path)
    for mmap in (False, True):
        found = torch.load(path, weights_only=True, mmap=mmap)
        same({key: tensor.numpy() for key, tensor in found.items()}, STATE)
    save_weights({"weight": np.ones((2, 3), "f4"), "bias": np.zeros(2, "f4")}, path, metadata={"npresnet": "{}"})
    state = torch.load(path, weights_only=True)
    assert torch.nn.Linear(3, 2).load_state_dict(state).missing_keys == [] and state.npresnet == "{}"
    again = tmp_path / "again.pth"
    torch.save(state, again)  # the attribute survives torch's own round trip
    assert read_weights(again).metadata == {"npresnet": "{}"}


def test_a_pth_is_aligned_and_whole_to_python_s_zipfile(tmp_path):
    path = tmp_path / "w.pth"
    save_weights(STATE, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        data = path.read_bytes()
        for info in archive.infolist():
            name, extra = (int.from_bytes(data[info.header_offset + at :][:2], "little") for at in (26, 28))
            assert (info.header_offset + 30 + name + extra) % 64 == 0 and info.compress_type == 0


def test_the_libraries_read_safetensors_and_npz(tmp_path):
    load_file = pytest.importorskip("safetensors.numpy", reason="safetensors is the oracle").load_file
    save_weights(STATE, tmp_path / "w.safetensors", metadata={"who": "me"})
    found = load_file(tmp_path / "w.safetensors")
    same({key: found[key] for key in STATE}, STATE)
    save_weights(STATE, tmp_path / "w.npz", metadata={"npresnet": '{"é": 1}'})
    with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
        same({key: archive[key] for key in STATE}, STATE)
        assert str(archive["npresnet"]) == '{"é": 1}'


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_cannot_be_written_is_said_and_nothing_is_left(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    for name, array in (("o", np.array([object()])), ("t", np.array(["a"])), (3, np.ones(2)), ("l", np.longdouble(1))):
        with pytest.raises(WeightsError):
            save_weights({name: array}, path)
    with pytest.raises(WeightsError, match="no array to write"):
        save_weights({}, path)
    with pytest.raises(WeightsError, match="33 dimensions"):
        save_weights({"a": np.ones((1,) * 33)}, path)
    with pytest.raises(WeightsError, match="strings to strings"):
        save_weights(STATE, path, metadata={"a": 1})
    assert os.listdir(tmp_path) == []
    with pytest.raises(WeightsError, match="no folder"):
        save_weights(STATE, tmp_path / f"none/w{suffix}")
    for name in ("w", "w.h5", "w.txt"):
        with pytest.raises(WeightsError, match="change the suffix"):
            save_weights(STATE, tmp_path / name)


@pytest.mark.parametrize(
    "attribute, value, message",
    [
        ("classes", ("cat", "dog"), "model.classes must be None or 3 names"),
        ("classes", (0, 1, 2), "3 names"),
        ("classes", "abc", "3 names"),
        ("classes", (), "3 names"),
        ("preprocessing", "foo", "no preprocessing is called 'foo'; there are imagenet-v1"),
        ("preprocessing", {"size": 3}, "not the fields of a preprocessing"),
        ("preprocessing", 224, "model.preprocessing: a int does not say"),
        ("fc", Linear(64, 7), "model.classes must be None or 7 names"),
        ("spec", Spec("resnet20", 3, options={"eps": 1}), "the option eps cannot be '1'"),
    ],
)
def test_a_model_that_could_not_be_loaded_again_is_not_written(model, attribute, value, message, tmp_path):
    setattr(model, attribute, value)
    with pytest.raises(WeightsError, match=message) as caught:
        save_weights(model, tmp_path / "w.npz")
    assert "w.npz: " in str(caught.value) and "\n" not in str(caught.value) and os.listdir(tmp_path) == []


def test_names_that_a_reader_would_refuse_are_not_written(tmp_path):
    for name in ("../a", "/a", "a//b", "a/../b", "a\0"):
        with pytest.raises(WeightsError, match="is no name in this container"):
            save_weights({name: np.ones(2)}, tmp_path / "w.npz")
        save_weights({name: np.ones(2)}, tmp_path / "w.safetensors")
        assert list(read_weights(tmp_path / "w.safetensors")) == [name]
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_names_that_a_container_needs_itself_are_refused(tmp_path):
    for name, key in (("w.npz", "npresnet"), ("w.safetensors", "__metadata__")):
        with pytest.raises(WeightsError, match="cannot be called"):
            save_weights({key: np.ones(2)}, tmp_path / name)
    with pytest.raises(WeightsError, match="no storage type"):
        save_weights({"a": np.ones(2, np.uint16)}, tmp_path / "w.pth")
    assert os.listdir(tmp_path) == []


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "w.npz"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["w.npz"]


def test_a_failed_write_names_the_file_and_not_its_neighbour(tmp_path):
    (tmp_path / "folder.npz/x").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none/w.npz", tmp_path / "file/w.npz", tmp_path / "folder.npz"):
        with pytest.raises(OSError) as caught, atomic_write(path):
            pass
        assert caught.value.filename == str(path) and ".tmp" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(tmp_path / "w.npz"):
        (tmp_path / "other").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.npz"]


KILLED = """
import os, sys
import numpy as np
import npresnet.weights.save as write
from npresnet.weights import save_weights
path, suffix = sys.argv[1:]
writer = write.WRITERS[suffix]
def dying(file, arrays, metadata):
    writer(file, arrays, metadata)
    file.flush()
    os.kill(os.getpid(), 9)
write.WRITERS[suffix] = dying
save_weights({"a": np.ones(1000)}, path)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_process_leaves_no_half_file_under_the_final_name(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    for before in (None, b"old"):
        if before:
            path.write_bytes(before)
        died = subprocess.run([sys.executable, "-c", KILLED, path, suffix], env={**os.environ, "PYTHONPATH": ROOT})
        assert died.returncode == -9
        assert (path.read_bytes() if path.exists() else None) == before


def test_the_arrays_of_the_caller_are_not_touched(tmp_path):
    frozen = {key: np.array(array) for key, array in STATE.items()}
    for array in frozen.values():
        array.flags.writeable = False
    for suffix in SUFFIXES:
        save_weights(frozen, tmp_path / f"w{suffix}")
        same(read_weights(tmp_path / f"w{suffix}"), frozen)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_checkpoint_s_own_metadata_and_more_are_both_written(suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    own = Checkpoint({"a": np.ones(2)}, metadata={"who": "mé"})
    save_weights(own, path, metadata={"when": "now", "npresnet": "{}"})
    found = read_weights(path)
    wanted = {"who": "mé", "when": "now", "npresnet": "{}"}
    assert list(found) == ["a"] and found.metadata == wanted | ({"format": "pt"} if suffix == ".safetensors" else {})


def test_torch_finds_every_text_as_an_attribute(tmp_path):
    torch = oracles.torch()
    save_weights({"a": np.ones(2)}, tmp_path / "w.pth", metadata={"who": "me", "when": "now"})
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    assert (state.who, state.when, list(state)) == ("me", "now", ["a"])


def test_a_text_cannot_take_a_name_that_is_in_use(tmp_path):
    for name, key in (("w.npz", "a"), ("w.pth", "keys")):
        with pytest.raises(WeightsError, match="cannot be called"):
            save_weights({"a": np.ones(2)}, tmp_path / name, metadata={key: "x"})
    assert os.listdir(tmp_path) == []
