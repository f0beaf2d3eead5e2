"""--backend cupy: on every command that computes, with a GPU the same answers, and without one a line that says so."""

import json
import shutil
import sys

import pytest

from ..support.commands import network, photo, run, weights  # noqa: F401
from ..training.test_cli_train import QUICK, data  # noqa: F401
from .conftest import usable_gpu

COMMANDS = {
    "classify": ["PHOTO", "--weights", "WEIGHTS"],
    "evaluate": ["--data", "DATA", "--weights", "WEIGHTS"],
    "cam": ["PHOTO", "--weights", "WEIGHTS", "--out", "OUT.png"],
    "features": ["PHOTO", "--weights", "WEIGHTS"],
    "train": ["--data", "TRAIN", "--model", "resnet20", *QUICK[2:], "--out", "OUT"],
    "verify": ["--only", "relu*"],
    "bench": ["--model", "resnet20", "--batch", "2"],
    "gradcheck": ["resnet20"],
    "diff": ["keras", "torchvision"],
}


@pytest.fixture
def line(photo, weights, data, tmp_path):  # noqa: F811
    """line("classify") → its command line with files in place."""
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "images" / name)
    names = {
        "PHOTO": photo,
        "WEIGHTS": weights,
        "DATA": tmp_path / "images",
        "TRAIN": data,
        "OUT": tmp_path / "out",
        "OUT.png": tmp_path / "out.png",
    }

    def line(command, *more):
        return [command, *(names.get(part, part) for part in COMMANDS[command]), *more]

    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_without_cupy_one_line_says_what_to_install(command, line, run, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = run(*line(command, "--backend", "cupy"))
    cure = "choose --backend numpy or numba" if command in ("gradcheck", "diff") else "npresnet[cuda12]"
    assert result.status == 2 and cure in result.complaint


@pytest.mark.parametrize("command", ["classify", "verify"])
def test_without_a_gpu_one_line_says_so(command, line, run, monkeypatch):  # noqa: F811
    from ..support import fake_cupy

    with fake_cupy.installed() as cupy:
        monkeypatch.setattr(cupy.cuda, "is_available", lambda: False)
        result = run(*line(command, "--backend", "cupy"))
    assert result.status == 2 and "no usable GPU" in result.complaint


@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_the_scores_are_those_of_the_cpu(command, line, run, cupy):  # noqa: F811
    found, due = (json.loads(run(*line(command, "--json", "--backend", backend)).out) for backend in ("cupy", "numpy"))
    assert flat(found) == pytest.approx(flat(due), rel=1e-3)


def test_the_evidence_is_where_the_cpu_finds_it(line, run, cupy, tmp_path):  # noqa: F811
    found, due = (
        json.loads(run(*line("cam", "--json", "--force", "--backend", backend)).out) for backend in ("cupy", "numpy")
    )
    assert flat(found) == pytest.approx(flat(due), rel=1e-3)


def test_the_features_are_those_of_the_cpu(line, run, cupy):  # noqa: F811
    found, due = (json.loads(run(*line("features", "--backend", backend)).out) for backend in ("cupy", "numpy"))
    assert flat(found) == pytest.approx(flat(due), rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_a_short_training_run(line, run, cupy):  # noqa: F811
    result = run(*line("train", "--json", "--backend", "cupy"))
    assert result.status == 0 and json.loads(result.out)["total"] > 0


def test_golden_packs(run, cupy):  # noqa: F811
    result = run("verify", "--only", "*pool2d*", "--backend", "cupy", "--json")
    assert result.status == 0 and len(json.loads(result.out)["rows"]) > 10


def flat(found, name=""):
    """The numbers of a JSON object by their place in it."""
    if isinstance(found, dict | list):
        pairs = found.items() if isinstance(found, dict) else enumerate(found)
        return {key: value for place, part in pairs for key, value in flat(part, f"{name}.{place}").items()}
    return {name: found} if isinstance(found, int | float) else {}


@pytest.mark.gpu
def test_this_machine_has_a_usable_gpu():
    if usable_gpu() is None:
        pytest.skip("no usable GPU")
    import cupy

    assert cupy.cuda.is_available()
