"""Many images: results as they come, in order, in every format, and what an interruption leaves."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from functools import partial
from itertools import islice

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet.cli.stream import Prepared, Stream, batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine images, one of them broken."""
    path, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    for k in range(9):
        pixels = (rng.uniform(0, 1, 3) * rng.uniform(0, 256, (40, 36, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"{k}.png")
    (path / "4.png").write_bytes((path / "4.png").read_bytes()[:200])
    return path


def names(folder):
    return [str(folder / f"{k}.png") for k in range(9) if k != 4]


@pytest.fixture(scope="module")
def due(folder, network):
    """The scores of the images that can be read."""
    return network.logits(npresnet.preprocess(names(folder), network))


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_each_image_gets_its_own_scores(run, folder, weights, due, batch, backend):
    line = ["classify", folder, "--weights", weights, "--jsonl", "--top", 10]
    result = run(*line, "--batch", batch, "--workers", 3, "--backend", backend)
    found = [json.loads(text) for text in result.out.splitlines()]
    assert [entry["image"] for entry in found] == names(folder)
    assert result.status == 2 and "4.png: broken" in result.complaint
    p = np.exp(due - due.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    for entry, row in zip(found, p):
        guessed = {guess["class"]: guess["probability"] for guess in entry["predictions"]}
        np.testing.assert_allclose([guessed[k] for k in range(10)], row, atol=1e-4)


def test_every_format_tells_the_same(run, folder, weights, tmp_path):
    line = ["classify", folder, "--weights", weights, "--top", 2]
    whole = json.loads(run(*line, "--json").out)["images"]
    assert [json.loads(text) for text in run(*line, "--jsonl").out.splitlines()] == whole
    rows = list(csv.DictReader(io.StringIO(run(*line, "--csv").out)))
    assert [(row["image"], row["rank"], row["name"], float(row["probability"])) for row in rows] == [
        (entry["image"], str(k), guess["name"], guess["probability"])
        for entry in whole
        for k, guess in enumerate(entry["predictions"], 1)
    ]
    for suffix, option in ((".jsonl", ["--jsonl"]), (".csv", ["--csv"]), (".json", ["--json"]), (".txt", [])):
        out = tmp_path / f"found{suffix}"
        written = run(*line, "--out", out)
        assert written.out == "" and written.err.splitlines()[-2:] == [
            "1 of 9 images cannot be read",
            f"results of 8 images written to {out}",
        ]
        assert out.read_text() == run(*line, *option).out
        before = out.read_bytes()
        assert run(*line, "--out", out).complaint.endswith("replace it with --force") and out.read_bytes() == before
        assert run(*line, "--out", out, "--force").status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "a.xml"], "a file called .txt, .json"),
        (["--out", "a.csv", "--json"], "two formats"),
        (["--json", "--csv"], "not allowed with"),
        (["--out", "none/a.csv"], "none/a.csv: No such"),
    ],
)
def test_formats_that_contradict(run, folder, options, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run("classify", folder, *options)
    assert result.status == 2 and message in result.complaint and not list(tmp_path.iterdir())


def test_a_limit_and_a_zip(run, folder, weights, tmp_path):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for name in names(folder):
            archive.write(name, os.path.basename(name))
    result = run("classify", tmp_path / "many.zip", "--weights", weights, "--top", 1, "--limit", 5)
    assert result.status == 0 and len(result.out.splitlines()) == 10
    assert result.out.startswith(f"{tmp_path / 'many.zip'}/0.png\n")


@pytest.mark.parametrize("kind", ["--json", "--csv"])
def test_standard_input_without_an_image(run, weights, kind, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    result = run("classify", "-", "--weights", weights, kind)
    assert result.status == 2 and result.complaint == "npresnet: standard input holds no image and names none"


def test_size_changes_what_the_network_sees(run, photo, weights, network):
    due = network.logits(npresnet.data.Preprocessing(64, 64)(photo)[None])[0]
    result = run("classify", photo, "--weights", weights, "--size", 64, "--json")
    assert json.loads(result.out)["images"][0]["predictions"][0]["class"] == due.argmax()


def test_batches_are_of_one_shape_and_in_order():
    images = [Prepared(str(k), np.zeros((3, 4 + (k in (3, 4)), 4))) for k in range(7)]
    found = [[image.name for image in part] for part in batches(iter(images), lambda x: 2)]
    assert found == [["0", "1"], ["2"], ["3", "4"], ["5", "6"]]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("kind", ["--jsonl", "--csv"])
def test_an_interruption_leaves_complete_lines(folder, weights, kind):
    """Ctrl-C arrives after the first line, while the command waits for further names."""
    line = [sys.executable, "-m", "npresnet", "classify", "-", "--weights", weights, "--top", "1", kind]
    pipes: dict = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    pipes["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    with subprocess.Popen(list(map(str, line)), **pipes) as process:
        process.stdin.write("".join(f"{name}\n" for name in names(folder) * 4).encode())
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.decode().splitlines()[-1] == "npresnet: interrupted"
    lines = (first + rest).decode().split("\n")
    assert lines.pop() == "" and "Traceback" not in errors.decode()
    if kind == "--jsonl":
        assert all(json.loads(text)["predictions"] for text in lines)
    else:
        assert all(len(row) == 5 for row in csv.reader(lines))


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C after three images."""
    through = Stream.through

    def three(self, network, model):
        yield from islice(through(self, network, model), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Stream, "through", three)


@pytest.mark.parametrize("out", [[], ["--out", "found.json"]])
def test_an_interruption_ends_the_one_object(run, folder, weights, interrupted, out, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run("classify", folder, "--weights", weights, *(out or ["--json"]))
    report = json.loads((tmp_path / "found.json").read_text() if out else result.out)
    assert result.status == 130 and report["interrupted"] is True
    assert [entry["image"] for entry in report["images"]] == names(folder)[:3]
    assert bool(out) == ("results of 3 images written to found.json" in result.err.splitlines())
