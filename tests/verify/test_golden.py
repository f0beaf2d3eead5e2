"""The golden packs: replayed without torch, covering every option, and able to say no."""

import json
import subprocess
import sys
from dataclasses import fields
from importlib.resources import files

import numpy as np
import pytest

from npresnet import nn, ops, save_weights, use
from npresnet.cli import main
from npresnet.models import Dialect, build, list_models
from npresnet.models.dialect_rules import CHOICES
from npresnet.verify import golden
from npresnet.verify.fixed_weights import draw, draw_weights, project

from .test_gradcheck import once_more, planted, subtract

QUICK = "resnet20*"
NOT_IN_PACKS = {
    "Window",
    "im2col",
    "col2im",
    "same_padding",
    "op",
    "winograd_conv2d",  # parts, another algorithm,
    "batch_norm_relu",
    "batch_norm_relu_conv2d",
    "batch_norm_add_relu",
    "batch_norm_train_cast",
    "batch_norm_eval_cast",
    "group_norm_cast",
    "add",
    "cast",  # made of what is in them,
    "Quantized",
    "dequantize",
    "fake_quantize",
    "integer_conv2d",
    "integer_linear",
    "quantize",
    "quantized_add",
    "quantized_avg_pool2d",
    "quantized_max_pool2d",
    "quantized_mean",
    "quantized_relu",
    "requantize",  # equal to loops, bit for bit,
    "all_reduce_sum",
    "sync_batch_norm_train",  # over ranks,
    "momentum_step",
    "moving_statistics",
}  # and without a pullback


def test_every_op_agrees():
    for op in (
        "conv2d",
        "batch_norm",
        "group_norm",
        "max_pool",
        "avg_pool",
        "global",
        "relu",
        "leaky",
        "gelu",
        "silu",
        "soft",
        "linear",
        "zero",
        "sub",
    ):
        report = golden.verify(only=f"{op}*")
        assert report, report.conclusion()
        assert {row.dtype for row in report.rows} == {"float64", "float32"}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_networks_agree(backend):
    report = golden.verify(backend, only=QUICK)
    assert report, report.conclusion()
    assert {row.what for row in report.rows} == {"blocks", "logits", "loss", "gradient", "buffers", "descent"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_everything_agrees(backend):
    report = golden.verify(backend)
    assert report, report.conclusion()
    assert len(report.rows) > 700


def test_what_the_packs_cover():
    cases = [case for case, _ in golden.read_pack("networks")]
    assert {case["model"] for case in cases if case["name"] == case["model"]} == set(list_models())
    changed = {(field, value) for case in cases for field, value in case["options"].items()}
    changed |= {(field.name, getattr(Dialect(), field.name)) for field in fields(Dialect)}
    for field, allowed in CHOICES.items():
        assert {value for name, value in changed if name == field} | {"A"} >= set(allowed), field  # A is CIFAR's own
    silent = {"name", "preprocessing"}
    assert {field.name for field in fields(Dialect)} - silent == {name for case in cases for name in case["options"]}
    tested = {case["op"] for case, _ in golden.read_pack("ops")}
    assert set(ops.__all__) - tested <= NOT_IN_PACKS
    statics = {name for case, _ in golden.read_pack("ops") for name in case["static"]}
    assert statics >= {
        "stride",
        "padding",
        "dilation",
        "groups",
        "eps",
        "ceil_mode",
        "count_include_pad",
        "label_smoothing",
        "before",
        "after",
    }


def test_bounds_are_tight_where_they_can_be():
    loose = [case["name"] for case, _ in golden.read_pack("networks") if set(case["bounds"]) - {"descent"}]
    assert set(loose) <= {"plain110", "resnet152", "preresnet1001"}  # chaotic
    assert all(bound <= 1e-5 for case, _ in golden.read_pack("networks") for bound in case["bounds"].values())


def test_the_packs_are_small():
    packs = files("npresnet.verify").joinpath("packs")
    assert sum(len(pack.read_bytes()) for pack in packs.iterdir()) < 2.5e6


@pytest.mark.parametrize(
    "name, change, case, what",
    [
        ("conv2d", once_more(1, lambda dw: -dw), "conv2d-bias", "gradient"),
        ("batch_norm_train", once_more(0, lambda dx: 1.001 * dx), "batch_norm_train-plain", "gradient"),
        ("batch_norm_train", once_more(2, lambda db: 1.001 * db), "resnet20", "gradient"),
        ("linear", once_more(1, lambda dw: 1.0001 * dw), "resnet20", "descent"),
    ],
)
def test_a_planted_error_is_named(monkeypatch, name, change, case, what):
    monkeypatch.setattr(ops, name, planted(getattr(ops, name), change))
    report = golden.verify(only=case, dtypes=("float64",))
    assert not report and (case, what) in {(row.case, row.what) for row in report.wrong}
    assert f"{case} {what}" in report.conclusion()


def test_a_planted_value_is_named(monkeypatch):
    monkeypatch.setattr(nn.Residual, "__call__", lambda self, x: self.branch(x) - self.shortcut(x))
    monkeypatch.setattr(nn.Residual, "vjp", subtract)
    report = golden.verify(only="resnet20")
    assert {row.what for row in report.wrong} >= {"blocks", "logits", "loss"}


def test_distances():
    a = np.array([1.0, -4])
    assert golden.distance(a, a, 1) == 0 and golden.distance(a + 1e-9, a, 1) == pytest.approx(2.5e-10)
    assert golden.distance(np.array([np.nan]), np.ones(1), 1) == np.inf
    assert golden.distance(np.array([1e-17]), np.array([-1e-17]), 1) == 0  # a zero gradient's rounding
    assert golden.distance(np.array([1e-6]), np.array([0.0]), 1) > 1


def test_the_recipe_is_frozen():
    assert draw("images", (3,)).tolist() == RECIPE
    model = draw_weights(build("resnet20"))
    assert all(np.unique(p.value).size == p.value.size for p in model.parameters() if p.value.size > 1)
    many = draw("anything", (100_000,))
    assert abs(many.mean()) < 0.01 and abs((many**2).mean() - 1 / 3) < 0.01 and many.min() >= -1 and many.max() < 1
    for other in (np.roll(many, 1), draw("a", many.shape)):
        assert abs(np.corrcoef(many, other)[0, 1]) < 0.01


RECIPE = [0.14427538240171445, -0.9857699191725517, -0.3226419240936924]


def test_projections_see_one_wrong_entry():
    a = draw("a", (30, 40))
    b = a.copy()
    b[7, 9] += 1e-6
    assert abs(project("a", a) - project("a", b)) == pytest.approx(np.full(4, 1e-6))


NO_TORCH = "import sys; sys.modules['torch'] = None; from npresnet.cli import main; sys.exit(main(sys.argv[1:]))"


def without_torch(*arguments):
    return subprocess.run([sys.executable, "-c", NO_TORCH, *arguments], capture_output=True, text=True, timeout=300)


def test_command_without_torch():
    done = without_torch("verify", "--only", "*max_pool2d*", "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    assert table["ok"] and {row["what"] for row in table["rows"]} == {"value", "gradient"}
    done = without_torch("verify", "--weights", "any.pth", "--model", "resnet20")
    assert done.returncode == 2 and "pip install torch" in done.stderr and done.stderr.count("\n") == 1


def test_command_says_no(monkeypatch, capsys):
    monkeypatch.setattr(ops, "relu", planted(ops.relu, lambda dx: 2 * dx))
    assert main(["verify", "--only", "relu*"]) == 1
    assert "differ from PyTorch: relu" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "nothing"], "no case"),
        (["--model", "resnet20"], "--weights"),
        (["--backend", "tpu"], "invalid choice"),
    ],
)
def test_command_with_bad_arguments(arguments, message, capsys):
    assert main(["verify", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, options",
    [
        ("resnet20", {}),
        ("resnet18", {"stem": "deep", "avg_down": True, "squeeze": True}),
        ("preresnet18", {}),
        ("resnet20", {"unbiased": False, "padding": "same", "conv_bias": True}),
        ("resnet18", {"pool": "zeros"}),
        ("resnet20", {"norm": "group", "activation": "leaky_relu"}),
        ("preresnet18", {"norm": "group", "activation": "gelu"}),
        ("plain20", {"activation": "silu"}),
    ],
)
def test_a_users_own_weights(name, options, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch", reason="torch is not installed")
    model = draw_weights(build(name, num_classes=7, **options)).astype(np.float32)
    save_weights(model, tmp_path / "mine.safetensors")
    command = ["verify", "--weights", str(tmp_path / "mine.safetensors"), "--side", "32"]
    assert main(command) == 0
    assert f"{name} train" in capsys.readouterr().out
    monkeypatch.setattr(nn.GlobalAvgPool2d, "op", staticmethod(planted(ops.global_avg_pool2d, lambda dx: 0.99 * dx)))
    with use("numpy"):
        assert main(command) == 1
