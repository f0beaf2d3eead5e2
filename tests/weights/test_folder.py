"""A folder, or an index of shards, as a file of weights: what is read, and the one line where nothing can be."""

import json

import numpy as np
import pytest

from npresnet import WeightsError, load_model, read_weights, save_weights
from npresnet.models import build

A, B = {"a": np.arange(3.0)}, {"b": np.ones((2, 2))}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def write(folder, **contents):
    """Files by their names, with two underscores for a dot."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        path = folder / name.replace("__", ".")
        if isinstance(content, dict):
            save_weights(content, path)
        else:
            path.write_text(content)
    return folder


@pytest.fixture
def sharded(tmp_path):
    for name, arrays in zip(SHARDS, (A, B)):
        save_weights(arrays, tmp_path / name)
    write_index(tmp_path, {"a": SHARDS[0], "b": SHARDS[1]})
    return tmp_path


def write_index(folder, weight_map):
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 7}, "weight_map": weight_map}))


@pytest.mark.parametrize("given", ["", INDEX])
def test_shards(sharded, given):
    found = read_weights(sharded / given)
    assert {key: array.tolist() for key, array in found.items()} == {"a": [0, 1, 2], "b": [[1, 1], [1, 1]]}
    assert found.path == sharded / given and found.notes == [f"read the 2 files that {INDEX} lists"]


def test_one_shard_names_the_index(sharded):
    with pytest.raises(WeightsError, match=rf"one of 2 files that hold the network together; give {INDEX}, or"):
        read_weights(sharded / SHARDS[0])
    (sharded / INDEX).unlink()
    with pytest.raises(WeightsError, match=rf"one of 2 files .*; fetch the others, and {INDEX}"):
        read_weights(sharded / SHARDS[1])


@pytest.mark.parametrize(
    "weight_map, message",
    [
        ({"a": "../a.safetensors"}, r"lists '../a.safetensors', which is no name of a"),
        ({"a": "/a.safetensors"}, "which is no name"),
        ({"a": "..\\a.safetensors"}, "which is no name"),
        ({"a": "C:a.safetensors"}, "which is no name"),
        ({"a": ".a.safetensors"}, "which is no name"),
        ({"a": "passwd"}, "which is no name"),
        ({"a": SHARDS[0], "b": "gone.safetensors"}, r"1 of the 2 files that it lists are missing: 'gone.safetensors'"),
        ({"a": SHARDS[0], "b": SHARDS[0]}, f"{SHARDS[0]}: holds other arrays than the index says"),
        ({"a": SHARDS[0]} | {f"k{i}": f"{i}.bin" for i in range(1024)}, "lists more than 1024 files"),
        ({}, 'no index of weights: it has no "weight_map"'),
        ({"a": 1}, 'no index of weights: it has no "weight_map"'),
        ([SHARDS[0]], 'no index of weights: it has no "weight_map"'),
    ],
)
def test_an_index_that_lies(sharded, weight_map, message):
    write_index(sharded, weight_map)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(sharded)
    assert len(str(caught.value).splitlines()) == 1


def test_an_index_that_is_no_json(sharded):
    (sharded / INDEX).write_text("{")
    with pytest.raises(WeightsError, match="the index is no JSON"):
        read_weights(sharded)


@pytest.mark.parametrize(
    "contents, key, notes",
    [
        ({"model__safetensors": A, "config__json": "{}"}, "a", ["read model.safetensors in that folder"]),
        ({"model__safetensors": A, "other__npz": B}, "a", ["read model.safetensors in that folder"]),
        (
            {"best__safetensors": A, "final__safetensors": B, "checkpoint__safetensors": B},
            "a",
            ["read best.safetensors in that folder, not 'final.safetensors'"],
        ),
        ({"anything__npz": A, "log__txt": "", "config__json": "{}"}, "a", ["read anything.npz in that folder"]),
    ],
)
def test_which_file_of_a_folder(tmp_path, contents, key, notes):
    found = read_weights(write(tmp_path / "net", **contents))
    assert list(found) == [key] and found.notes == notes


@pytest.mark.parametrize(
    "contents, message",
    [
        ({}, "this folder holds no file of weights"),
        ({"a__npz": A, "b__npz": B}, r"holds 2 files of weights: 'a.npz', 'b.npz'; name one of them"),
        ({"saved_model__pb": ""}, "TensorFlow's SavedModel; load it there and save it as .keras"),
        ({"data__pkl": ""}, "an unpacked .pth"),
        ({"__metadata": "", "__0_0__distcp": ""}, "a torch.distributed checkpoint"),
        ({"adapter_config__json": "{}"}, "holds an adapter"),
    ],
)
def test_a_folder_that_is_no_network(tmp_path, contents, message):
    folder = write(tmp_path / "net", **contents)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(folder)
    assert str(caught.value).startswith(f"{folder}: ") and len(str(caught.value).splitlines()) == 1


def test_folders_inside_are_named(tmp_path):
    (tmp_path / "fold0").mkdir()
    with pytest.raises(WeightsError, match="no file of weights; it has the folders 'fold0'"):
        read_weights(tmp_path)


def test_a_folder_of_the_hubs_cache(tmp_path):
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    write(snapshots / "abc", model__safetensors=A)
    assert list(read_weights(tmp_path)) == ["a"]
    write(snapshots / "def", model__safetensors=B)
    with pytest.raises(WeightsError, match="the revisions 'abc', 'def'; name one"):
        read_weights(tmp_path)
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "main").write_text("def")
    assert list(read_weights(tmp_path)) == ["b"]


def test_a_configuration_is_read_where_its_place_says_whose_it_is(tmp_path):
    write(tmp_path, model__safetensors=A, other__npz=B, config__json="text")
    assert read_weights(tmp_path / "model.safetensors").metadata["config.json"] == "text"
    assert "config.json" not in read_weights(tmp_path / "other.npz").metadata


def test_a_configuration_without_end(tmp_path, monkeypatch):
    from npresnet.weights import folder

    monkeypatch.setattr(folder, "MOST_BYTES", 3)
    write(tmp_path, model__safetensors=A, config__json="text")
    with pytest.raises(WeightsError, match=r"config.json: has more than 3 bytes"):
        read_weights(tmp_path)


def test_a_network_in_a_folder(tmp_path):
    model = build("resnet20", 3)
    save_weights(model, tmp_path / "best.safetensors")
    assert load_model(tmp_path).spec == model.spec
