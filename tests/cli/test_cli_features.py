"""npresnet features"""

import csv
import json

import numpy as np
import pytest

import npresnet
from npresnet.cli.features import numbers

from .test_stream import folder, interrupted, names  # noqa: F401


@pytest.fixture
def line(folder, weights):  # noqa: F811
    return "features", folder, "--weights", weights


@pytest.fixture
def x(folder, network):  # noqa: F811
    return npresnet.preprocess(names(folder), network)


@pytest.mark.parametrize("backend", [[], ["--backend", "numba"]])
def test_lines_hold_the_pooled_features(run, line, x, folder, network, backend):  # noqa: F811
    result = run(*line, *backend)
    found = [json.loads(text) for text in result.out.splitlines()]
    assert [entry["image"] for entry in found] == names(folder) and result.status == 2  # one is broken
    due = npresnet.features(network, x)
    np.testing.assert_allclose([entry["features"] for entry in found], due, atol=1e-4 * due.max())


@pytest.mark.parametrize("after", ["layer2", "layer1.1.conv1"])
@pytest.mark.parametrize("pool", [True, False])
def test_after_a_layer_in_every_file(run, line, x, network, folder, tmp_path, after, pool):  # noqa: F811
    due = npresnet.features(network, x, after)
    due = due.mean(axis=(2, 3)) if pool else due
    options = ["--after", after] + ["--no-pool"] * (not pool)
    for suffix in (".npz", ".npy", ".jsonl", *([".csv"] if pool else [])):
        out = tmp_path / f"found{suffix}"
        assert run(*line, *options, "--out", out).out == ""
        if suffix == ".npz":
            with np.load(out) as arrays:
                found = arrays["features"]
                assert arrays["names"].tolist() == names(folder)
        elif suffix == ".npy":
            found = np.load(out)
        elif suffix == ".csv":
            header, *rows = csv.reader(out.read_text().splitlines())
            assert header[:2] == ["image", "0"] and [row[0] for row in rows] == names(folder)
            found = np.array([row[1:] for row in rows], float)
        else:
            found = [json.loads(text)["features"] for text in out.read_text().splitlines()]
        np.testing.assert_allclose(found, due, atol=1e-4 * abs(due).max())
        assert "replace it with --force" in run(*line, *options, "--out", out).complaint


def test_a_network_without_a_classifier_has_features(run, photo, tmp_path):
    model = npresnet.create_model("resnet20", num_classes=0)
    result = run("features", photo, "--weights", npresnet.save_weights(model, tmp_path / "bare.npz"))
    due = model(npresnet.preprocess(photo, model))[0]
    np.testing.assert_allclose(json.loads(result.out)["features"], due, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--after", "layer9"], "no layer layer9"),
        (["--no-pool"], "name it with --after"),
        (["--after", "layer1", "--no-pool", "--csv"], "no place for maps"),
        (["--out", "a.txt"], "called .npz, .npy, .jsonl or .csv"),
        (["--out", "a.npz", "--csv"], "two formats"),
        (["--out", "none/a.npz"], "No such"),
    ],
)
def test_what_cannot_be(run, photo, weights, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("features", photo, "--weights", weights, *options)
    assert result.status == 2 and message in result.complaint and not list(tmp_path.iterdir()) and result.out == ""


def test_numbers_come_back_as_the_same_floats():
    array = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    text = json.dumps(numbers(array))
    np.testing.assert_array_equal(np.array(json.loads(text), np.float32), array)
    assert len(text) < 5 * 3 * 15


def test_an_interruption_keeps_what_is_done(run, line, folder, interrupted, tmp_path):  # noqa: F811
    assert run(*line, "--out", tmp_path / "a.npz").status == 130
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["names"].tolist() == names(folder)[:3] and arrays["features"].shape == (3, 64)
    assert run(*line, "--out", tmp_path / "a.csv").status == 130
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
