"""read_weights against what wrote the file: torch, safetensors and NumPy."""

import hashlib
import json
import struct
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest

from npresnet.formats.torch.allowlist import TORCH_GLOBALS
from npresnet.formats.unpickle.stack_machine import Refusal
from npresnet.weights import WeightsError, read_weights

from ..support import containers, oracles
from ..support.pickles import call, program, pth, raw_zip, storage, tensor, value

PRETRAINED = Path(__file__).parents[2] / "../shared/data/pretrained"
RNG = np.random.default_rng(0)
STATE = {
    "conv1.weight": RNG.standard_normal((4, 3, 2, 5)).astype(np.float32),
    "bn1.weight": RNG.standard_normal(4).astype(np.float32),
    "bn1.running_var": RNG.random(4).astype(np.float32),
    "bn1.num_batches_tracked": np.array(12),
    "fc.weight": RNG.standard_normal((2, 4)),
    "fc.bias": np.array([np.nan, -0.0]),
}


def same(found, wanted):
    assert list(found) == list(wanted)
    for key, array in wanted.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape, key
        assert found[key].tobytes() == np.asarray(array).tobytes(), key
        assert found[key].flags.writeable and found[key].flags.c_contiguous, key


CONTAINERS = {"torch zip": containers.write_torch_zip, "torch legacy": containers.write_torch_legacy}
FLAVOURS = {"plain": lambda state: state, "no counters": containers.without_counters, "halves": containers.with_halves}


@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_what_torch_saves_is_read_bit_for_bit(container, flavour, parameters, tmp_path):
    oracles.torch()
    state, path = FLAVOURS[flavour](STATE), tmp_path / "w.pth"
    CONTAINERS[container](path, (containers.with_parameters if parameters else containers.as_tensors)(state))
    found = read_weights(path)
    same(found, state)
    assert (found.format, found.notes, found.path) == (container, [], path)


@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_tar_of_2017_is_read_bit_for_bit_and_torch_agrees(flavour, parameters, tmp_path):
    torch = oracles.torch()
    state, path = FLAVOURS[flavour](STATE), tmp_path / "w.pth"
    containers.write_tar(path, state, parameters)
    same(read_weights(path), state)
    for key, tensor_ in torch.load(path, weights_only=False).items():
        assert isinstance(tensor_, torch.nn.Parameter) == (parameters and state[key].dtype.kind == "f")
        assert tensor_.detach().numpy().tobytes() == state[key].tobytes()


@pytest.mark.parametrize("legacy", [False, True])
def test_views_shared_storages_and_strides_of_torch(legacy, tmp_path):
    torch = oracles.torch()
    base = torch.arange(24.0)
    tensors = {
        "slice": base[3:7],
        "transposed": base.reshape(4, 6).t(),
        "steps": base[::5],
        "whole": base,
        "tied": base,
        "expanded": torch.ones(1, 3).expand(5, 3),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "channels last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
    }
    path = tmp_path / "w.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)
    found = read_weights(path)
    same(found, {key: np.ascontiguousarray(t.numpy()).reshape(t.shape) for key, t in tensors.items()})
    found["whole"][:] = 0
    assert found["tied"][5] == 5  # tied arrays do not alias


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "uint16",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
    ],
)
def test_every_dtype_of_torch(name, legacy, tmp_path):
    torch = oracles.torch()
    wanted = torch.tensor([[0, 1, 2], [3, 100, 1]]).to(getattr(torch, name))
    path = tmp_path / "w.pth"
    torch.save({"w": wanted}, path, _use_new_zipfile_serialization=not legacy)
    same(read_weights(path), {"w": (wanted.float() if name == "bfloat16" else wanted).numpy()})
    wide = read_weights(path, float32=True)["w"].dtype
    assert wide == ("float32" if name in ("float16", "bfloat16") else name)


def test_every_bfloat16_and_float16_is_widened_as_torch_widens_it(tmp_path):
    torch = oracles.torch()
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    halves = {"b": bits.view(torch.bfloat16), "h": bits.clone().view(torch.float16)}
    path = tmp_path / "w.pth"
    torch.save(halves, path)
    found = read_weights(path, float32=True)
    for key, half in halves.items():
        np.testing.assert_array_equal(found[key], half.float().numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_of_torch(protocol, tmp_path):
    torch = oracles.torch()
    for legacy in (False, True):
        path = tmp_path / f"{legacy}.pth"
        torch.save(
            containers.with_parameters(STATE), path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy
        )
        same(read_weights(path), STATE)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_training_checkpoint_is_read_past_its_other_contents(legacy, tmp_path):
    torch = oracles.torch()
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    wrapped = {f"module.{key}": t for key, t in net.state_dict().items()}
    path = tmp_path / "w.pth"
    torch.save(
        {
            "epoch": 3,
            "best_prec1": 91.7,
            "arch": "resnet",
            "state_dict": wrapped,
            "tags": {"a"},
            "raw": b"\xff",
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "size": torch.Size([1, 2]),
            "device": torch.device("cpu"),
            "dtype": torch.float32,
            "counts": Counter("aab"),
        },
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    found = read_weights(path)
    same(found, {key: t.numpy() for key, t in net.state_dict().items()})
    assert found.notes[0].startswith("took the arrays under 'state_dict', left 'epoch', 'best_prec1', 'arch'")
    assert found.notes[1] == "dropped the prefix 'module.' from 7 keys"


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
def test_wrappers_and_prefixes_are_resolved_and_reported(wrapper, tmp_path):
    path = tmp_path / "w.pth"
    state = {"module._orig_mod.a": tensor(), "module._orig_mod.b": tensor(), "module._orig_mod.n": 3}
    path.write_bytes(pth(program({wrapper: {"state_dict": state}})))
    found = read_weights(path)
    assert list(found) == ["a", "b"] and found.notes == [
        f"took the arrays under '{wrapper}.state_dict'",
        "left out what is no array: 'module._orig_mod.n'",
        "dropped the prefix 'module.' from 2 keys",
        "dropped the prefix '_orig_mod.' from 2 keys",
    ]


def test_a_prefix_that_only_some_keys_have_stays(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(pth(program({"module.a": tensor(), "b": tensor()})))
    assert list(read_weights(path)) == ["module.a", "b"]


def test_the_byte_order_record_is_obeyed(tmp_path):
    wanted = np.array([[1.5, -2], [3, 4e-3]], np.float32)
    for order, code in ((b"little", "<f4"), (b"big", ">f4"), (None, "<f4")):
        members = [("a/data.pkl", program({"w": tensor()})), ("a/data/0", wanted.astype(code).tobytes())]
        path = tmp_path / "w.pth"
        path.write_bytes(raw_zip(members + ([("a/byteorder", order)] if order else [])))
        same(read_weights(path), {"w": wanted})


def test_old_ways_to_rebuild_a_tensor(tmp_path):
    parameter, path = "torch.nn.parameter Parameter", tmp_path / "w.pth"
    tree = {
        "plain": call("torch._utils _rebuild_tensor", storage(), 1, (3,), (1,)),
        "data": call(parameter, tensor()),
        "state": call(parameter) + value((tensor(), None, None, True, False)) + b"b",
        "set": call(parameter) + value((storage(), 0, (4,), (1,))) + b"b",
        "new": b"ctorch.nn.parameter\nParameter\n" + value((tensor(), True)) + b"\x81",
        "with state": call("torch._utils _rebuild_parameter_with_state", tensor(), True, None, {"tag": 1}),
    }
    raw = np.arange(4, dtype=np.float32)
    path.write_bytes(pth(program(tree), data=(("0", raw.tobytes()),)))
    square = raw.reshape(2, 2)
    same(
        read_weights(path),
        {"plain": raw[1:].copy(), "data": square, "state": square, "set": raw, "new": square, "with state": square},
    )


def test_the_allow_list_is_an_argument(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(pth(program({"w": tensor(), "score": call("my.metrics Score", 3)})))
    assert read_weights(path).notes == ["left out what is no array: 'score'"]
    seen = []
    read_weights(path, allow={**TORCH_GLOBALS, "my.metrics Score": seen.append})
    assert seen == [3]
    with pytest.raises(WeightsError, match=r"refused global 'my\.metrics\.Score': not today"):
        read_weights(path, allow={**TORCH_GLOBALS, "my.metrics Score": Refusal("not today")})


@pytest.mark.parametrize("compressed", [False, True])
def test_what_numpy_saves_is_read_bit_for_bit(compressed, tmp_path):
    state = {
        **STATE,
        "h": np.ones(3, np.float16),
        "b": np.array([True, False]),
        "empty": np.zeros((2, 0)),
        "fortran": np.asfortranarray(RNG.random((3, 4, 5))),
        "big": np.arange(6, dtype=">f8").reshape(2, 3),
    }
    path = tmp_path / "w.npz"
    (np.savez_compressed if compressed else np.savez)(path, **state, npresnet=np.array('{"é": 1}'))
    found = read_weights(path)
    same(
        {key: found[key] for key in state},
        {**state, "fortran": np.ascontiguousarray(state["fortran"]), "big": state["big"].astype(float)},
    )
    assert found.metadata == {"npresnet": '{"é": 1}'} and found.format == "npz" and len(found) == len(state)


def test_what_the_safetensors_library_saves_is_read_bit_for_bit(tmp_path):
    numpy_io = pytest.importorskip("safetensors.numpy", reason="safetensors is the oracle")
    state = {**STATE, "h": np.ones(3, np.float16), "empty": np.zeros((2, 0), np.float32), "u": np.arange(5, dtype="u2")}
    path = tmp_path / "w.safetensors"
    numpy_io.save_file(state, path, metadata={"format": "pt", "who": "é"})
    found = read_weights(path)
    same({key: found[key] for key in state}, state)
    assert found.metadata == {"format": "pt", "who": "é"} and found.format == "safetensors" and len(found) == len(state)


def test_bfloat16_in_safetensors_is_widened(tmp_path):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f\x20\xc0")
    same(read_weights(path), {"w": np.array([1.0, -2.5], np.float32)})


def test_the_content_decides_not_the_suffix(tmp_path):
    path = tmp_path / "weights.pth"
    with open(path, "wb") as file:
        np.savez(file, a=np.arange(3))
    assert read_weights(path).format == "npz"


@pytest.mark.parametrize("name", ["resnet18-f37072fd.pth", "resnet18-f37072fd (1).pth", "wide_resnet50_2-95faca4d.pth"])
def test_a_file_of_a_published_name_and_other_bytes_is_refused_before_anything_is_parsed(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(pth(program(call("os system", "true"))))
    with pytest.raises(WeightsError, match="that of the published file with") as caught:
        read_weights(path)
    assert "os.system" not in str(caught.value)


def test_other_names_promise_nothing(tmp_path):
    data = pth(program({"w": tensor()}))
    for name in (
        f"net-{hashlib.sha1(data).hexdigest()[:8]}.pth",
        "resnet18-1700000000.pth",
        "resnet18-20240131.pth",
        "resnet18-0badc0de.pth",
        "9f8a6c1e-1234-4abc-9def-0123456789ab.pth",
    ):
        (tmp_path / name).write_bytes(data)
        assert read_weights(tmp_path / name).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="no ../shared/data/pretrained")
@pytest.mark.parametrize("name, count", [("resnet20-12fca82f.th", 97), ("resnet32-d509ac18.th", 157)])
def test_published_checkpoints_equal_what_torch_reads(name, count):
    torch = oracles.torch()
    found = read_weights(PRETRAINED / name)
    wanted = torch.load(PRETRAINED / name, map_location="cpu", weights_only=True)["state_dict"]
    assert len(found) == count and found.format == "torch legacy"
    same(found, OrderedDict((key.removeprefix("module."), t.numpy()) for key, t in wanted.items()))
    assert found.notes == [
        "took the arrays under 'state_dict', left 'best_prec1'",
        f"dropped the prefix 'module.' from {count} keys",
    ]


@pytest.mark.parametrize("padding", range(0, 264, 8))
def test_safetensors_whose_header_has_any_length_is_no_pickle(tmp_path, padding):
    """A header of 128 bytes more than a multiple of 256 has a length that starts like a pickle."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    header += b" " * (-len(header) % 8 + padding)
    path = tmp_path / "file.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + np.float32(7).tobytes())
    assert read_weights(path)["w"] == 7


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2", "F4"])
def test_float8_in_safetensors_is_told_apart(code, tmp_path):
    header = json.dumps({"w": {"dtype": code, "shape": [4], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(WeightsError, match=r"'w': .*(float8_e|'F4').* is not read"):
        read_weights(path)


def test_bfloat16_in_npz_is_widened(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes gives NumPy bfloat16")
    wanted = RNG.standard_normal((2, 3)).astype(ml_dtypes.bfloat16)
    path = tmp_path / "w.npz"
    np.savez(path, w=wanted, f=np.asfortranarray(wanted))
    same(read_weights(path), {"w": wanted.astype(np.float32), "f": wanted.astype(np.float32)})
