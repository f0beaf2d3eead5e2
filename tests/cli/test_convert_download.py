"""npresnet convert and npresnet download"""

import hashlib
import importlib.util
import json
import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import npresnet
from npresnet.data import class_names
from npresnet.data.open_dataset import open_for_evaluation
from npresnet.weights import catalogue, read_weights

from ..data import test_cifar


@pytest.mark.parametrize("suffix", [".npz", ".pth", ".safetensors"])
def test_convert_keeps_arrays_and_what_is_known(run, network, weights, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    result = run("convert", weights, out)
    assert result.status == 0 and result.out == f"{out}: {len(network.state_dict())} arrays\n"
    model = npresnet.load_model(out)
    assert model.spec == network.spec and model.classes == network.classes and model.preprocessing == "cifar10"
    for key, array in network.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[key], array)


def test_convert_fills_in_what_the_hash_tells(run, pretrained, tmp_path):
    out = tmp_path / "resnet20.safetensors"
    assert run("convert", pretrained / "resnet20-12fca82f.th", out).status == 0
    model = npresnet.load_model(out)
    assert model.spec.name == "resnet20" and model.classes[3] == "cat" and model.preprocessing == "cifar10"


def test_torch_reads_a_converted_file(run, network, weights, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert run("convert", weights, tmp_path / "a.pth").status == 0
    state = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(state) == list(network.state_dict())
    np.testing.assert_array_equal(state["fc.weight"].numpy(), network.state_dict()["fc.weight"])


def test_convert_settles_a_tie(run, network, tmp_path):
    bare = npresnet.save_weights(network.state_dict(), tmp_path / "bare.npz")
    assert run("convert", bare, tmp_path / "plain.npz", "--model", "plain20").status == 0
    assert npresnet.load_model(tmp_path / "plain.npz").spec.name == "plain20"


def test_convert_by_name_keeps_the_recorded_options(run, tmp_path):
    model = npresnet.create_model("resnet20", shortcut="A-appended", eps=1e-3)
    path = npresnet.save_weights(model, tmp_path / "a.npz")
    assert run("convert", path, tmp_path / "b.npz", "--model", "resnet20").status == 0
    assert npresnet.load_model(tmp_path / "b.npz").spec == model.spec


def test_arrays_of_no_known_network_are_kept(run, tmp_path):
    path = npresnet.save_weights({"x": np.arange(3.0), "y.z": np.ones((2, 2), np.float32)}, tmp_path / "a.npz")
    result = run("convert", path, tmp_path / "b.safetensors")
    assert result.status == 0 and "no known architecture" in result.err
    arrays = read_weights(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(arrays["x"], np.arange(3.0))
    assert arrays["x"].dtype == np.float64 and arrays["y.z"].shape == (2, 2)
    assert run("convert", path, tmp_path / "c.npz", "--model", "resnet20").status == 2
    assert not (tmp_path / "c.npz").exists()


def test_convert_refuses_what_it_cannot_write(run, weights, tmp_path):
    result = run("convert", weights, tmp_path / "a.txt")
    assert result.status == 2 and ".safetensors" in result.complaint and not (tmp_path / "a.txt").exists()
    assert run("convert", weights, tmp_path / "no/folder/a.npz").status == 2


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """The address of a server on the loopback that serves the folder served/."""
    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def mirror(served, tmp_path, monkeypatch):
    """The same with one file, which the catalogue knows as resnet20."""
    content = np.random.default_rng(0).bytes(300_000)
    digest = hashlib.sha256(content).hexdigest()
    entry = replace(catalogue.ENTRIES["resnet20:V1"], file=f"resnet20-{digest[:8]}.th", sha256=digest)
    monkeypatch.setitem(catalogue.ENTRIES, "resnet20:V1", entry)
    (tmp_path / "served" / entry.file).write_bytes(content)
    return served, entry, content


def test_download(run, mirror, tmp_path):
    address, entry, content = mirror
    result = run("download", "resnet20", "--out", tmp_path / "new/folder", "--mirror", address)
    path = tmp_path / "new/folder" / entry.file
    assert result.status == 0 and result.out == f"{path}\n" and path.read_bytes() == content


def test_download_that_fails(run, mirror, tmp_path):
    address, entry, content = mirror
    (tmp_path / "served" / entry.file).write_bytes(content[:-1] + b"?")
    result = run("download", "resnet20", "--out", tmp_path / "new", "--mirror", address)
    assert result.status == 2 and "SHA-256" in result.complaint and not (tmp_path / "new" / entry.file).exists()
    result = run("download", "resnet32", "--out", tmp_path / "new", "--mirror", address)
    assert result.status == 2 and "404" in result.complaint


def test_a_file_of_that_name_with_other_bytes_is_replaced_only_with_force(run, mirror, tmp_path):
    address, entry, content = mirror
    line, path = ("download", "resnet20", "--out", tmp_path, "--mirror", address), tmp_path / entry.file
    path.write_bytes(b"tuned by me")
    refused = run(*line)
    assert refused.status == 2 and "--force" in refused.complaint and path.read_bytes() == b"tuned by me"
    assert run(*line, "--force").status == 0 and path.read_bytes() == content
    assert run(*line).status == 0  # the right bytes are there: nothing to do


def test_the_catalogue_is_listed(run):
    text = run("download").out
    listed = json.loads(run("download", "--json").out)
    assert len(listed) == 21 and all(entry["name"] in text and entry["file"] in text for entry in listed)
    assert {entry["preprocessing"] for entry in listed} == {"imagenet-v1", "imagenet-v2", "cifar10", None}
    assert [entry["name"] for entry in listed if entry["images"]] == ["cifar10", "cifar100"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_dataset_comes_into_a_folder_of_its_name_and_is_read_there(name, run, served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"cifar10": test_cifar.python10, "cifar100": test_cifar.python100}[name]()
    (tmp_path / "made").mkdir()
    content = test_cifar.as_tar(tmp_path / "made", files).read_bytes()
    entry = replace(catalogue.DATASETS[name], sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    monkeypatch.setitem(catalogue.DATASETS, name, entry)
    (tmp_path / "served" / entry.file).write_bytes(content)
    assert f"npresnet download {name}" in run("evaluate", "--data", name).complaint
    assert run("download", name, "--mirror", served).out == os.path.join(name, entry.file) + "\n"
    assert len(open_for_evaluation(name)) == 4 and open_for_evaluation(name, "train").classes == class_names(name)
    (tmp_path / "served" / entry.file).write_bytes(content[:-9] + b"x" * 9)
    damaged = run("download", name, "--out", "again", "--mirror", served)
    assert damaged.status == 2 and "SHA-256" in damaged.complaint and not (tmp_path / "again" / entry.file).exists()


def test_the_datasets_have_the_hashes_that_keras_checks():
    found = importlib.util.find_spec("keras")
    if found is None or found.origin is None:
        pytest.skip("keras is not installed")
    for name, entry in catalogue.DATASETS.items():
        text = Path(found.origin).parent.joinpath(f"src/datasets/{name}.py").read_text()  # importing it takes seconds
        assert entry.url in text and entry.sha256 in text


@pytest.mark.parametrize("name, words", [("resnet152:V2", "only the first 8 hex digits"), ("resnet50", "")])
def test_a_download_says_where_only_a_part_of_the_hash_is_known(name, words, run, monkeypatch, tmp_path):
    monkeypatch.setattr(npresnet.weights, "download", lambda *args, **options: tmp_path / "w.pth")
    done = run("download", name)
    assert done.status == 0 and done.out == f"{tmp_path / 'w.pth'}\n"
    assert words in done.err and ("note" in done.err) == bool(words)
