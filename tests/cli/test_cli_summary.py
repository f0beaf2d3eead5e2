"""npresnet summary"""

import json

import pytest

from npresnet.analysis.summary import summary
from npresnet.models import build


def test_text_is_the_table(run):
    result = run("summary", "resnet50")
    assert result.status == 0 and result.out == f"{summary(build('resnet50'))}\n"
    assert "25,557,032" in result.out and "4,089,184,256" in result.out


def test_json(run):
    report = json.loads(run("summary", "resnet18", "--input", "2x3x64x32", "--num-classes", 7, "--json").out)
    assert report["input_shape"] == [2, 3, 64, 32] and report["rows"][-1]["output_shape"] == [2, 7]
    assert report["rows"][-1]["parameters"] == 7 * 513


def test_the_usual_size_of_each_network(run):
    assert "1x3x224x224" in run("summary", "resnet18").out
    assert "1x3x32x32" in run("summary", "resnet20").out


def test_a_file_tells_its_network(run, weights):
    assert run("summary", "--weights", weights, "--json").out == run("summary", "resnet20", "--json").out


def test_a_file_in_the_place_of_a_name(run, weights, tmp_path):
    expected = run("summary", "resnet20", "--json").out
    assert run("summary", weights, "--json").out == expected
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_bytes(weights.read_bytes())
    assert run("summary", tmp_path / "run", "--json").out == expected
    assert "two checkpoints are named" in run("summary", weights, "--weights", weights).complaint


def test_a_terminal_gets_a_drawn_table(run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    text = run("summary", "resnet18").out
    assert "layer4" in text and "11,689,512" in text and ("│" in text or "|" in text)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["resnet18", "--input", "1x4x224x224"], "conv1 cannot take 1x4x224x224: it reads 3 channels"),
        (["resnet18", "--input", "1x3x0x224"], "at least 1"),
        (["resnet18", "--input", "3x224x224"], "such as 1x3x224x224"),
        (["resnet18", "--input", "1x3x-5x5"], "such as 1x3x224x224"),
        (["resnet19"], "did you mean"),
        (["resnet18", "--num-classes", "0"], "whole number from 1"),
        ([], "resnext50_32x4d"),
    ],
)
def test_bad_usage(run, argv, message):
    result = run("summary", *argv)
    assert result.status == 2 and result.out == "" and message in result.complaint
