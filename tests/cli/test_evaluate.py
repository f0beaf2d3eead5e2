"""npresnet evaluate"""

import argparse
import csv
import json
import zipfile
from itertools import islice

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.cli.evaluate import Found, rank
from npresnet.data import preprocess
from npresnet.data.dataset import Dataset


def test_rank_counts_what_comes_before_the_truth():
    logits = np.array([[1, 3, 2], [1, 3, 2], [5, 5, 5], [5, 5, 5], [0, np.nan, 1], [0, np.inf, 1]], np.float32)
    labels = np.array([1, 0, 0, 2, 2, 1])
    np.testing.assert_array_equal(rank(logits, labels), [0, 2, 0, 2, 3, 3])
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(0, 4, (200, 7)).astype(np.float32), rng.integers(0, 7, 200)
    np.testing.assert_array_equal(rank(logits, labels) == 0, logits.argmax(axis=1) == labels)


@pytest.mark.parametrize("classes, more", [(5, ""), (6, ", top-5 75.00 %")])
def test_top_5_is_told_where_it_says_something(capsys, classes, more):
    found = Found(argparse.Namespace(json=False, jsonl=False, csv=False), {}, classes)
    found.add(np.array([0, 0, 1, 5]))
    found.report()
    assert capsys.readouterr().out == f"right on 2 of 4: top-1 50.00 %{more}\n"


@pytest.fixture
def data(tmp_path, network):
    """30 images in three of the network's class folders, and each one's rank counted another way."""
    rng, ranks = np.random.default_rng(2), []
    for name in ("truck", "cat", "ship"):
        (tmp_path / "test" / name).mkdir(parents=True)
        for k in range(10):
            pixels = (rng.uniform(0, 1, 3) * rng.uniform(0, 256, (33, 32, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"test/{name}/{k}.png")
            order = np.argsort(-network(preprocess(pixels, "cifar10"))[0])
            ranks.append(list(order).index(network.classes.index(name)))
    return tmp_path, np.array(ranks)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_counts(run, data, weights, batch_size):
    path, ranks = data
    result = run("evaluate", "--data", path, "--weights", weights, "--json", "--batch-size", batch_size)
    report = json.loads(result.out)
    right, right5 = (ranks < 1).sum(), (ranks < 5).sum()
    assert 0 < right < 30 or 0 < right5 < 30  # the case tells right from wrong
    assert (report["right"], report["total"]) == (right, 30)
    assert report["top1"] == right / 30 and report["top5"] == right5 / 30
    assert report["matched"] == "by name" and report["model"] == "resnet20" and result.status == 0


def test_zip_text_and_limit(run, data, weights, tmp_path):
    path, ranks = data
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in sorted(path.glob("test/*/*.png")):
            archive.write(file, file.relative_to(path))
    result = run("evaluate", "--data", tmp_path / "data.zip", "--weights", weights)
    assert result.out.startswith(f"right on {(ranks < 1).sum()} of 30: top-1 ")
    assert "matched by name" in result.err
    assert "of 6: " in run("evaluate", "--data", tmp_path / "data.zip", "--weights", weights, "--limit", 6).out


def test_folders_without_known_names_are_taken_in_order_and_said_so(run, network, tmp_path):
    bare = npresnet.save_weights(network.state_dict(), tmp_path / "bare.npz")
    for k in range(10):
        (tmp_path / f"data/n{k:04}").mkdir(parents=True)
        Image.new("RGB", (32, 32), (k, 2 * k, 3 * k)).save(tmp_path / f"data/n{k:04}/a.png")
    result = run("evaluate", "--data", tmp_path / "data", "--weights", bare, "--model", "resnet20")
    assert result.status == 0 and "in sorted order (n0000 is class 0, n0009 is 9)" in result.err


def test_folders_that_are_none_of_the_classes(run, weights, tmp_path):
    (tmp_path / "tiger").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "tiger/a.png")
    result = run("evaluate", "--data", tmp_path, "--weights", weights)
    assert result.status == 2 and "tiger" in result.complaint


def test_public_weights_on_every_twentieth_image(run, pretrained, cifar_test):
    result = run(
        "evaluate", "--data", cifar_test, "--weights", pretrained / "resnet20-12fca82f.th", "--limit", 500, "--json"
    )
    report = json.loads(result.out)
    assert report["total"] == 500 and 0.76 < report["top1"] < 0.86 and report["top5"] > 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, file, right", [("resnet20", "resnet20-12fca82f.th", 8103), ("resnet32", "resnet32-d509ac18.th", 8256)]
)
def test_public_weights_are_right_exactly_where_pytorch_is(run, pretrained, cifar_test, name, file, right):
    result = run("evaluate", "--model", name, "--weights", pretrained / file, "--data", cifar_test, "--json")
    report = json.loads(result.out)
    assert (report["right"], report["total"]) == (right, 10_000)
    assert report["top1"] == right / 10_000


def test_what_train_reads_is_evaluated(run, data, network, weights, tmp_path):
    """CIFAR's own archive, and a folder that holds a zip of the part."""
    rng = np.random.default_rng(4)
    pixels, labels = rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, 12)
    archive = tmp_path / "cifar"
    archive.mkdir()
    rows = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(12, -1)], axis=1)
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        (archive / name).write_bytes(rows.tobytes())
    due = int((network(preprocess(pixels.transpose(0, 2, 3, 1), network)).argmax(axis=1) == labels).sum())
    found = json.loads(run("evaluate", "--data", archive, "--weights", weights, "--json").out)
    assert (found["right"], found["total"]) == (due, 12)

    path, ranks = data
    holder = tmp_path / "holder"
    holder.mkdir()
    with zipfile.ZipFile(holder / "photos-test.zip", "w") as zipped:
        for file in sorted(path.glob("test/*/*.png")):
            zipped.write(file, file.relative_to(path))
    found = json.loads(run("evaluate", "--data", holder, "--weights", weights, "--json").out)
    assert (found["right"], found["total"]) == ((ranks < 1).sum(), 30)


def test_bfloat16(run, data, network, weights):
    """The engine's own scores in 16 bits decide."""
    path, ranks = data
    found = json.loads(run("evaluate", "--data", path, "--weights", weights, "--precision", "bfloat16", "--json").out)
    assert found["total"] == 30 and abs(found["right"] - (ranks < 1).sum()) <= 1
    line = ["evaluate", "--data", path, "--weights", weights, "--precision", "bfloat16", "--backend", "numpy"]
    assert "is for the engine on the CPU: leave out --backend numpy" in run(*line).complaint


def test_what_was_predicted_for_each_image(run, data, network, weights, tmp_path):
    path, ranks = data
    line = ["evaluate", "--data", path, "--weights", weights, "--batch", 7]
    result = run(*line, "--jsonl")
    found = [json.loads(text) for text in result.out.splitlines()]
    assert [entry["right"] for entry in found] == [rank < 1 for rank in np.roll(ranks, -10)]
    assert f"right on {(ranks < 1).sum()} of 30" in result.err and "right on" not in result.out
    for entry in found[::7]:
        scores = network(preprocess(entry["image"], network))[0].astype(np.float64)
        p = np.exp(scores - scores.max())
        assert entry["predicted"] == network.classes[p.argmax()] and f"/test/{entry['class']}/" in entry["image"]
        assert entry["probability"] == pytest.approx(p.max() / p.sum(), rel=1e-4)
    out = tmp_path / "found.csv"
    report = json.loads(run(*line, "--out", out, "--json").out)
    header, *rows = csv.reader(out.read_text().splitlines())
    assert header == ["image", "class", "predicted", "probability", "right"] and report["total"] == 30
    assert [row[0] for row in rows] == [entry["image"] for entry in found]
    assert run(*line, "--out", out).complaint.endswith("replace it with --force")
    assert "called .jsonl or .csv" in run(*line, "--out", tmp_path / "a.txt").complaint


@pytest.mark.parametrize("kind", [[], ["--json"]])
def test_an_interruption_tells_what_is_done(run, data, weights, monkeypatch, kind):
    path, _ = data
    batches = Dataset.batches

    def interrupted(self, *args, **options):
        yield from islice(batches(self, *args, **options), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Dataset, "batches", interrupted)
    result = run("evaluate", "--data", path, "--weights", weights, "--batch", 4, *kind)
    assert result.status == 130 and result.err.splitlines()[-1] == "npresnet: interrupted"
    if kind:
        assert json.loads(result.out)["total"] == 12 and json.loads(result.out)["interrupted"] is True
    else:
        assert result.out.startswith("interrupted: right on ") and " of 12: " in result.out
