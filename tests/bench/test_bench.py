"""The benchmark compares outputs first, then times, and names every library that it leaves out."""

import json
import os
import sys

import numpy as np
import pytest

from npresnet import create_model
from npresnet.bench import cpu, memory
from npresnet.bench.cpu import bench
from npresnet.bench.fewer_bits import check_alike
from npresnet.bench.report import Entry, Report, check
from npresnet.cli import main
from tests.support import oracles

pytest.importorskip("numba")


def test_report_has_every_library_and_its_ratio(capsys):
    pytest.importorskip("onnxruntime")
    argv = ["bench", "--model", "resnet20", "--batch", "2", "--rounds", "2", "--against", "torch,onnxruntime"]
    assert main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    names = [entry["name"] for entry in report["entries"]]
    assert names == ["npresnet", "onnxruntime", "torch, contiguous", "torch, channels last"]
    assert report["left_out"] == {} and report["batch"] == 2 and report["mode"] == "infer"
    ours = report["entries"][0]["median_ms"]
    for entry in report["entries"]:
        assert entry["ratio"] == pytest.approx(entry["median_ms"] / ours, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize(
    "options", [{"activation": "leaky_relu"}, {"activation": "gelu"}, {"activation": "silu"}], ids=str
)
def test_group_norms_and_activations_in_torch_are_ours(options):
    torch = pytest.importorskip("torch")
    from npresnet.bench.libraries import to_torch

    model = create_model("resnet20", norm="group", **options)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(model(x), to_torch(model)(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)


def test_training_steps_start_from_the_same_loss():
    pytest.importorskip("torch")
    report = bench(create_model("resnet20"), 4, "train", ("torch", "onnxruntime"), size=(32, 32), rounds=1)
    assert len(report.entries) == 3 and report.left_out == {"onnxruntime": "it does not train"}


def test_a_library_that_is_not_installed_is_left_out_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    report = bench(create_model("resnet20"), 1, "infer", ("openvino",), size=(32, 32), rounds=1)
    assert [entry.name for entry in report.entries] == ["npresnet"] and "openvino" in report.left_out
    assert "left out: openvino (not available" in str(report)


def test_other_outputs_stop_it():
    with pytest.raises(ValueError, match=r"other gives other outputs"):
        check({"npresnet": lambda: np.ones(3), "other": lambda: np.array([1, 1, 1.01])})
    with pytest.raises(ValueError, match=r"other gives other outputs"):
        check({"npresnet": lambda: np.ones(3), "other": lambda: np.array([1, 1, np.nan])})


def test_medians_and_ratios():
    entries = [Entry("npresnet", [1.0, 2.0, 30.0]), Entry("slow", [3.0, 5.0, 4.0])]
    report = Report("m", 1, "infer", 2, "a machine", entries, {})
    assert report.ratio(entries[1]) == 2 and "2.00" in str(report)


def test_each_timed_call_follows_one_that_is_not():
    calls = []
    assert len(cpu.timed(lambda: calls.append(1), 3)) == 3
    assert len(calls) == 4


@pytest.mark.parametrize("argv, words", [(["--against", "jax"], "jax"), (["--model", "nothing"], "unknown model")])
def test_bad_names_are_one_line(argv, words, capsys):
    assert main(["bench", *argv]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are read from Linux's /proc")
def test_memory_of_each_library_in_its_own_process(capsys):
    pytest.importorskip("torch")
    argv = ["bench", "--model", "resnet20", "--batch", "128", "--memory", "--against", "torch,ncnn"]
    assert main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    peak, weights = report["entries"]["npresnet"]
    activations = 128 * 16 * 32 * 32 * 4  # the largest result, of which a block needs two at a time
    assert 0 < weights < peak < 40 * activations and 0 < report["entries"]["torch"][0] < 40 * activations
    assert "ncnn" in report["left_out"]  # not installed, or one image at a time
    argv = ["bench", "--model", "resnet20", "--batch", "16", "--memory", "--against", "torch"]
    assert main(argv) == 0
    assert "transformed weights" in capsys.readouterr().out


def test_a_training_step_has_a_peak_too():
    measured = (
        memory.measure(
            {
                "library": "npresnet",
                "model": "resnet20",
                "batch": 4,
                "mode": "train",
                "size": (32, 32),
                "threads": 1,
                "folder": ".",
            }
        )
        if os.access("/proc/self/clear_refs", os.W_OK)
        else None
    )
    assert measured is None or (measured["weights"] == 0 and measured["peak"] >= 0)


def test_8_bits_are_timed_beside_other_libraries_and_our_floats(capsys):
    pytest.importorskip("onnxruntime")
    argv = ["bench", "--model", "resnet20", "--batch", "2", "--rounds", "1", "--precision", "int8", "--json"]
    assert main([*argv, "--against", "onnxruntime,torch"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in report["entries"]] == ["npresnet", "npresnet float32", "onnxruntime"]
    assert report["left_out"] == {"torch": "not compared in int8"} and report["mode"] == "infer in int8"


def test_bfloat16_is_timed_beside_pytorch_and_our_floats(capsys):
    oracles.torch()
    argv = ["bench", "--model", "resnet20", "--batch", "2", "--rounds", "1", "--precision", "bfloat16", "--json"]
    assert main([*argv, "--against", "onnxruntime,torch"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in report["entries"]] == ["npresnet", "npresnet float32", "torch"]
    assert report["left_out"] == {"onnxruntime": "not compared in bfloat16"}
    assert report["mode"] == "infer in bfloat16"


def test_networks_whose_scores_do_not_follow_ours_are_not_timed():
    scores = np.random.default_rng(0).standard_normal(100)
    check_alike({"npresnet float32": lambda: scores, "npresnet": lambda: scores + 0.01 * scores[::-1]})
    with pytest.raises(ValueError, match=r"other gives other outputs \(a correlation of"):
        check_alike({"npresnet float32": lambda: scores, "other": lambda: scores[::-1]})


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
@pytest.mark.parametrize("more", [["--mode", "train"], ["--memory"], ["--backend", "cupy"]], ids=lambda more: more[0])
def test_fewer_bits_are_inference_on_a_cpu(more, precision, capsys):
    assert main(["bench", "--model", "resnet20", "--precision", precision, *more]) == 2
    assert "times inference on a CPU" in capsys.readouterr().err
