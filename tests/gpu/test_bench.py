"""The benchmark on the GPU: it refuses what it cannot compare, checks before it times, and prints."""

import json
from functools import partial

import pytest

from npresnet import create_model
from npresnet.bench.gpu import bench_gpu
from npresnet.bench.report import check

from ..scripts import gpu_table
from ..support.commands import run  # noqa: F401


@pytest.mark.parametrize("mode, precision", [("infer", "float32"), ("infer", "float16"), ("train", "tf32")])
def test_a_report(cupy, mode, precision):
    report = bench_gpu(create_model("resnet20", depths=(1, 1, 1)), 2, mode, (8, 8), precision, rounds=1, calls=2)
    assert report.entries[0].name == "npresnet" and len(report.entries[0].times) == 2
    assert mode in str(report) and json.dumps(report.to_dict())


@pytest.mark.slow
def test_the_command(cupy, run):  # noqa: F811
    result = run(
        "bench",
        "--backend",
        "cupy",
        "--model",
        "resnet20",
        "--batch",
        "2",
        "--size",
        "8",
        "--rounds",
        "1",
        "--precision",
        "tf32",
        "--json",
    )
    assert result.status == 0 and json.loads(result.out)["mode"] == "infer in tf32"
    result = run("bench", "--backend", "cupy", "--mode", "train", "--precision", "float16")
    assert result.status == 2 and "train in float32, tf32" in result.complaint


def test_other_outputs_are_not_timed(cupy):
    with pytest.raises(ValueError, match="torch gives other outputs"):
        check({"npresnet": lambda: cupy.ones(3), "torch": lambda: cupy.zeros(3)}, 1e-3)


def test_the_table_is_written_whatever_fails(cupy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_table, "bench_gpu", partial(bench_gpu, rounds=1, calls=2))
    path = tmp_path / "gpu_table.json"
    rows = [
        ("resnet20", 2, "infer", "float32", 8, 1.0),
        ("resnet20", 2, "infer", "int8", 8, 1.0),
        ("resnet20", 2, "train", "float32", 8, 1.5),
    ]
    assert gpu_table.main(path, rows) == 1
    first, failed, last = json.loads(path.read_text())["rows"]
    assert "implicit GEMM" in first["plan"] and first["goal"] == 1.0
    assert "no 'infer' in 'int8'" in failed["failed"] and last["peak MiB, npresnet"] >= 0
    assert "; captured" in first["plan"] and "peak MiB" in capsys.readouterr().out
