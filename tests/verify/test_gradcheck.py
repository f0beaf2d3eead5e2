"""The gradient checker finds every planted error and names it, and calls a kink a kink."""

import json
import subprocess
import sys
from functools import partial, wraps

import numpy as np
import pytest

import npresnet
from npresnet import nn, ops
from npresnet.models import build
from npresnet.verify.derivative import derivative
from npresnet.verify.gradcheck import assert_gradients, gradcheck

rng = np.random.default_rng(7)


def normal(*shape):
    a = rng.standard_normal(shape)
    a.flags.writeable = False
    return a


def small_net():
    return nn.initialize(build("resnet20"), 0).train()


# -- what is right ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fn, arrays",
    [
        (partial(ops.conv2d, stride=2, padding=1), (normal(2, 3, 5, 6), normal(4, 3, 3, 3), normal(4))),
        (ops.conv2d, (normal(1, 2, 4, 4), normal(3, 2, 3, 3))),
        (partial(ops.batch_norm_train, eps=1e-5), (normal(3, 2, 4, 4), normal(2), normal(2))),
        (partial(ops.group_norm, groups=2, eps=1e-5), (normal(3, 4, 3, 3), normal(4), normal(4))),
        (partial(ops.leaky_relu, negative_slope=0.1), (normal(3, 5),)),
        (ops.gelu, (normal(3, 5),)),
        (ops.silu, (normal(3, 5),)),
        (partial(ops.max_pool2d, kernel=3, stride=2, padding=1), (normal(2, 3, 6, 6),)),
        (partial(ops.avg_pool2d, kernel=3, stride=2, padding=1), (normal(2, 3, 6, 6),)),
        (ops.softmax, (normal(3, 5),)),
        (ops.linear, (normal(3, 4), normal(5, 4), normal(5))),
        (ops.softmax_cross_entropy, (normal(3, 5), np.array([0, 4, 2]))),
    ],
    ids=[
        "conv",
        "conv without bias",
        "batch norm",
        "group norm",
        "leaky relu",
        "gelu",
        "silu",
        "max pool",
        "avg pool",
        "softmax",
        "linear",
        "loss",
    ],
)
def test_right_ops_pass(fn, arrays):
    report = gradcheck(fn, *arrays)
    assert report, report
    assert max(row.error for row in report.rows) < 1e-9


@pytest.mark.parametrize("scale, offset", [(1e-8, 0), (1e8, 0), (1, 100)])
def test_any_scale_of_the_arguments(scale, offset):
    assert gradcheck(partial(ops.batch_norm_train, eps=0), scale * normal(3, 2, 4, 4) + offset, normal(2), normal(2))
    assert gradcheck(ops.conv2d, scale * normal(2, 2, 4, 4) + offset, normal(3, 2, 3, 3))


def test_float32_arguments_are_checked_in_float64():
    assert gradcheck(ops.relu, normal(4, 5).astype(np.float32))


LARGE = pytest.param("preresnet110", marks=pytest.mark.slow)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", ["resnet20", "plain20", "resnet18", LARGE])
def test_whole_networks_pass(name, mode):
    model = nn.initialize(build(name, num_classes=7), 1).train(mode)
    x = normal(2, 3, 32, 32) if name == "resnet18" else normal(2, 3, 8, 8)
    report = gradcheck(model, x, np.array([3, 6]))
    assert report, report.conclusion()
    every = {(row.layer, row.argument) for row in report.rows}
    for key, _ in model.named_parameters():
        assert tuple(key.rsplit(".", 1)) in every
    assert report.rows[-1].layer == "loss"
    assert sum(row.kind == "Residual" for row in report.rows) == sum(
        isinstance(part, nn.Chain) and hasattr(part, "downsample") for part in model.modules()
    )


def test_the_model_stays_as_it_is():
    model = small_net()
    before = {key: value.copy() for key, value in model.state_dict().items()}
    assert gradcheck(model, normal(2, 3, 8, 8))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
        assert value.dtype == before[key].dtype
    assert model.training and all(parameter.grad is None for parameter in model.parameters())


def test_the_loss_of_a_network_that_is_sure():
    model, x = small_net(), normal(1, 3, 8, 8)
    model.fc.weight.value = model.fc.weight.value * 300
    sure = gradcheck(model, x, model.astype(np.float64)(x).argmax(axis=1), layers="loss")
    assert sure and all(row.verdict == "ok" for row in sure.rows)


def test_frozen_parameters_are_left_out():
    model = nn.freeze_batch_norm(small_net())
    report = gradcheck(model, normal(2, 3, 8, 8))
    assert report and not any(row.argument in ("weight", "bias") for row in report.rows if row.kind == "BatchNorm2d")


def test_layers_by_pattern():
    report = gradcheck(small_net(), normal(2, 3, 8, 8), layers="layer2.*.conv?")
    assert {row.layer for row in report.rows} == {f"layer2.{i}.conv{j}" for i in range(3) for j in (1, 2)}
    assert not gradcheck(small_net(), normal(2, 3, 8, 8), layers="nothing")


def test_a_shared_layer_is_checked_wherever_it_runs():
    report = gradcheck(small_net(), normal(2, 3, 8, 8), layers="layer1.0.relu")
    assert len([row for row in report.rows if row.index is None]) == 2


# -- kinks --------------------------------------------------------------------------------------


def test_relu_at_zero_is_a_kink():
    report = gradcheck(ops.relu, np.array([-1.0, 0, 2]))
    assert report
    direction, worst, kink = report.rows
    assert direction.kinks == 1 and direction.verdict == worst.verdict == "ok"
    assert kink.verdict == "kink" and kink.index == (1,) and kink.where == "x[1]"


RNG = np.random.default_rng(0)


def dropout(x):
    mask = RNG.random(x.shape) > 0.5
    return 2 * x * mask, lambda dy: 2 * dy * mask


def dropout_with_a_mistake_where_masks_differ(x):
    mask = RNG.random(x.shape) > 0.5
    mask[:20] = True
    return 2 * x * mask, lambda dy: 2 * dy * mask * np.where(np.arange(len(x)) < 20, 1, 7)


def noisy_gradient(x):
    return 2 * x, lambda dy: 2 * dy + 1e-10 * RNG.standard_normal(x.shape)


@pytest.mark.parametrize("fn", [dropout, dropout_with_a_mistake_where_masks_differ, noisy_gradient])
def test_a_function_of_two_results_is_wrong(fn):
    report = gradcheck(fn, np.random.default_rng(1).standard_normal(28))
    assert not report and "two calls give different results" in report.conclusion()
    assert [row.verdict for row in report.rows] == ["WRONG"]


def test_most_entries_must_have_a_derivative():
    x = np.r_[np.zeros(6), 1.0, 2, 3, 4]
    report = gradcheck(ops.relu, x)
    assert not report and "x (most entries have no derivative)" in report.conclusion()
    assert gradcheck(ops.relu, x[2:])


def test_nothing_but_kinks():
    report = gradcheck(ops.relu, np.zeros(3))
    assert not report and not report.wrong and {row.verdict for row in report.rows} == {"kink"}
    assert report.conclusion() == "nothing could be checked: there are only kinks"
    with pytest.raises(AssertionError, match="nothing could be checked"):
        assert_gradients(planted(ops.relu, lambda dx: 7 * dx), np.zeros((2, 3)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "fn, arrays",
    [
        (ops.relu, [np.zeros((0, 3))]),
        (lambda x: (x[:0], lambda dy: np.zeros(3)), [normal(3)]),
        (lambda x: (np.ones(3), lambda dy: np.zeros(0)), [np.zeros(0)]),
        (small_net(), [np.zeros((0, 3, 8, 8))]),
    ],
)
def test_nothing_is_found_right_where_there_is_nothing_to_check(fn, arrays):
    report = gradcheck(fn, *arrays)
    assert not report and "nothing could be checked" in str(report)


def test_max_pool_ties_are_kinks():
    x = np.array([[[[1.0, 1], [0, 0]]]])
    report = gradcheck(partial(ops.max_pool2d, kernel=2, stride=2), x)
    assert report and report.rows[0].verdict == "kink"
    kink = report.rows[-1]
    assert kink.verdict == "kink" and kink.index == (0, 0, 0, 0) and kink.kinks == 2  # moving a zero is harmless


def test_a_kink_close_by_is_stepped_under():
    report = gradcheck(ops.relu, np.array([1e-5, -1e-5, 1.0]))
    assert report and all(row.kinks == 0 for row in report.rows)


def test_a_scalar_behind_many_kinks():
    def energy(x):
        y, pullback = ops.relu(x)
        return (y**2 + y).sum(), lambda du: pullback(du * (2 * y + 1))

    report = gradcheck(energy, normal(40, 50))
    assert report.rows[0].verdict == "ok" and report


def test_a_wrong_gradient_beside_a_kink_is_still_wrong():
    def leaky(x):
        y, pullback = ops.relu(x)
        return y, lambda dy: pullback(dy) + 0.1 * dy

    report = gradcheck(leaky, np.array([-1.0, 0, 2]))
    assert not report and report.wrong


@pytest.mark.parametrize("f, slope", [(np.sin, 1), (np.exp, 1), (lambda t: (t + 2) ** 5, 80), (lambda t: t**3, 0)])
def test_derivatives_to_ten_digits(f, slope):
    found = derivative(lambda t: np.array([f(t)]), np.array([f(0)]))
    assert abs(found.value[0] - slope) <= 1e-10 * max(1, slope) and not found.kinks[0]


@pytest.mark.parametrize(
    "f",
    [
        abs,
        lambda t: np.sqrt(abs(t)),
        lambda t: float(t >= 0),
        lambda t: max(t, 3 * t),
        lambda t: abs(t) if abs(t) < 1e-5 else np.nan,
    ],
)
def test_no_derivative(f):
    assert derivative(lambda t: np.array([f(t)]), np.array([f(0.0)])).kinks.all()


# -- what is wrong ------------------------------------------------------------------------------


def planted(op, change):
    """The op with a wrong pullback: ``change`` has the last word on the gradients."""

    @wraps(op)
    def wrong(*arrays, **static):
        y, pullback, *extras = op(*arrays, **static)
        return y, lambda *dy, **skip: change(pullback(*dy, **skip)), *extras

    return wrong


def once_more(i, change):
    """Change gradient i of a tuple."""
    return lambda grads: tuple(change(g) if j == i and g is not None else g for j, g in enumerate(grads))


@pytest.mark.parametrize(
    "name, change, kind, argument",
    [
        ("conv2d", once_more(0, lambda dx: -dx), "Conv2d", "x"),
        ("conv2d", once_more(1, lambda dw: dw[:, :, ::-1]), "Conv2d", "weight"),
        ("conv2d", once_more(1, lambda dw: dw * (1 + 1e-6)), "Conv2d", "weight"),
        ("batch_norm_train", once_more(0, lambda dx: dx - dx.mean(axis=0)), "BatchNorm2d", "x"),
        ("batch_norm_train", once_more(1, lambda dgamma: 2 * dgamma), "BatchNorm2d", "weight"),
        ("batch_norm_train", once_more(2, lambda dbeta: 0 * dbeta), "BatchNorm2d", "bias"),
        ("linear", once_more(2, lambda db: db / 2), "Linear", "bias"),
    ],
)
def test_a_wrong_layer_is_named(monkeypatch, name, change, kind, argument):
    monkeypatch.setattr(ops, name, planted(getattr(ops, name), change))
    report = gradcheck(small_net(), normal(2, 3, 8, 8))
    assert not report
    assert {(row.kind, row.argument) for row in report.wrong if row.bound < 1e-7} == {(kind, argument)}
    assert kind in report.conclusion() and "WRONG" in str(report)


@pytest.mark.parametrize(
    "layer, change",
    [
        (nn.GlobalAvgPool2d, lambda dx: dx * 1.001),
        (nn.ReLU, lambda dx: dx + 1e-3),
        (nn.MaxPool2d, lambda dx: np.roll(dx, 1, axis=3)),
        (nn.AvgPool2d, lambda dx: dx * (dx > 0)),
    ],
)
def test_a_wrong_pooling_or_activation_is_named(monkeypatch, layer, change):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 1), nn.GlobalAvgPool2d()
    )
    monkeypatch.setattr(layer, "op", staticmethod(planted(layer.op, change)))
    report = gradcheck(nn.initialize(model), normal(2, 3, 12, 12))
    assert not report
    assert {row.kind for row in report.wrong if row.bound < 1e-7} == {layer.__name__}


def forget_the_shortcut(self, x, input_grad=True):
    f, f_pullback = self.branch.vjp(x)
    s, _ = self.shortcut.vjp(x)
    return f + s, f_pullback


def subtract(self, x, input_grad=True):
    (f, f_pullback), (s, s_pullback) = self.branch.vjp(x), self.shortcut.vjp(x)
    return f - s, lambda dy: f_pullback(dy) - s_pullback(dy)


@pytest.mark.parametrize("vjp, argument", [(forget_the_shortcut, "x"), (subtract, "value")])
def test_a_wrong_residual_sum_is_named(monkeypatch, vjp, argument):
    monkeypatch.setattr(nn.Residual, "vjp", vjp)
    report = gradcheck(small_net(), normal(2, 3, 8, 8))
    assert {row.layer for row in report.wrong if row.kind == "Residual"} == {
        f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)
    }
    assert "layer1.0 Residual" in report.conclusion()
    assert all(row.kind in ("Residual", "whole net", "ResNet") for row in report.wrong)
    if argument == "value":
        assert any(row.argument == "value" for row in report.wrong)


def test_a_wrong_chain_is_named(monkeypatch):
    model = small_net()
    block = model.layer2.children()["1"]
    right = type(block).vjp

    class Reversed(type(block)):
        def vjp(self, x, input_grad=True):
            y, pullback = right(self, x)
            return y, lambda dy: pullback(dy)[:, ::-1]

    block.__class__ = Reversed
    report = gradcheck(model, normal(2, 3, 8, 8))
    assert {(row.layer, row.kind) for row in report.wrong} >= {("layer2.1", "Reversed")}
    assert not any(row.layer.startswith(("layer1", "layer3", "fc", "conv1")) for row in report.wrong)


def test_a_wrong_loss_is_named(monkeypatch):
    monkeypatch.setattr(ops, "softmax_cross_entropy", planted(ops.softmax_cross_entropy, lambda dz: dz * 0.5))
    report = gradcheck(small_net(), normal(2, 3, 8, 8), np.array([1, 2]))
    assert {row.kind for row in report.wrong} == {"softmax_cross_entropy"}
    assert report.wrong[0].layer == "loss" and report.wrong[0].argument == "logits"


def test_one_wrong_entry_of_many_is_named():
    def wrong(x):
        def pullback(dy):
            dx = 3 * dy
            dx[1, 2] += 0.01
            return dx

        return 3 * x, pullback

    report = gradcheck(wrong, normal(4, 5))
    worst = next(row for row in report.wrong if row.index)
    assert worst.index == (1, 2) and worst.analytic != worst.numeric and "x[1, 2]" in report.conclusion()


def test_a_large_wrong_argument_names_an_entry():
    report = gradcheck(planted(partial(ops.avg_pool2d, kernel=2, stride=2), lambda dx: dx * 2), normal(4, 4, 16, 16))
    assert any(row.index is not None and abs(row.analytic / row.numeric - 2) < 1e-6 for row in report.wrong)


@pytest.mark.parametrize("change", [lambda dx: dx * np.nan, lambda dx: dx + 1e-3])
def test_gradients_where_there_are_none(change):
    assert not gradcheck(planted(ops.relu, change), np.full((200, 200), -1.0))


def holes(x):
    y = 5 * x
    y[0] = np.nan
    return y


@pytest.mark.parametrize("f", [lambda x: np.full_like(x, np.nan), holes, lambda x: x * np.inf, np.sqrt])
@pytest.mark.filterwarnings("ignore:invalid value")  # of a root
def test_what_is_not_finite_is_wrong(f):
    x = np.ones((4, 4))
    x[0] = 0
    report = gradcheck(lambda x: (f(x), lambda dy: 5 * dy), x)
    assert report.rows[0].verdict == "WRONG" and "x (not finite)" in report.conclusion()


def test_a_layer_behind_statistics_that_are_not_finite():
    model = small_net().eval()
    model.bn1.running_var.value = np.full(16, np.nan, np.float32)
    report = gradcheck(model, normal(2, 3, 8, 8), layers="layer1.0.conv1")
    assert {row.argument for row in report.wrong} == {"x", "weight"} and "not finite" in report.conclusion()


def test_a_slope_at_the_edge_of_where_a_function_is_defined():
    with np.errstate(invalid="ignore"):
        assert gradcheck(lambda x: (np.log(x), lambda dy: dy / x), np.array([1e-6, 1.0, 2.0]))


# -- use ----------------------------------------------------------------------------------------


def test_assert_gradients_shows_the_wrong_rows():
    assert_gradients(ops.relu, normal(3, 3))
    with pytest.raises(AssertionError, match=r"(?s)WRONG.*found a wrong gradient"):
        assert_gradients(planted(ops.relu, lambda dx: 2 * dx), normal(3, 3))


def test_what_cannot_be_checked_is_told():
    with pytest.raises(TypeError, match="float64 throughout"):
        gradcheck(lambda x: (x.astype(np.float32), lambda dy: dy), normal(3))
    for returned in (None, normal(3), (normal(3), None)):
        with pytest.raises(TypeError, match=r"must return \(y, pullback\)"):
            gradcheck(lambda x, returned=returned: returned, normal(3))
    with pytest.raises(ValueError, match="one gradient for each floating-point argument"):
        gradcheck(lambda x, w: (x * w, lambda dy: dy * w), normal(3), normal(3))
    with pytest.raises(ValueError, match=r"shapes \[\(3,\)\]"):
        gradcheck(lambda x: (x, lambda dy: dy[:2]), normal(3))


def test_reports_for_people_and_programs():
    report = npresnet.gradcheck(ops.linear, normal(2, 3), normal(4, 3), normal(4))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is True and {row["argument"] for row in data["rows"]} == {"x", "w", "b"}
    html = report._repr_html_()
    assert html.count("<tr>") == len(report.rows) + 1 and "<td>linear</td>" in html
    assert str(report).startswith("gradients of linear\n")


def npresnet_command(*arguments):
    return subprocess.run([sys.executable, "-m", "npresnet", *arguments], capture_output=True, text=True, timeout=300)


def test_command():
    shape = "--input", "2x3x16x16"
    done = npresnet_command("gradcheck", "resnet20", *shape)
    assert done.returncode == 0 and "the gradients are right" in done.stdout and "layer3.2.bn2" in done.stdout
    done = npresnet_command("gradcheck", "resnet20", *shape, "--layer", "fc", "--eval", "--json")
    assert done.returncode == 0 and {row["layer"] for row in json.loads(done.stdout)["rows"]} == {"fc"}
    for wrong in (["resnet21"], ["resnet20", "--layer", "none"], ["resnet20", "--input", "3x3"]):
        done = npresnet_command("gradcheck", *wrong)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout


def test_command_says_no(monkeypatch, capsys):
    from npresnet.cli import main

    monkeypatch.setattr(ops, "linear", planted(ops.linear, once_more(0, lambda dx: -dx)))
    assert main(["gradcheck", "resnet20", "--input", "2x3x16x16", "--layer", "fc"]) == 1
    assert "fc Linear x" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_resnet152_in_train_mode():
    model = nn.initialize(build("resnet152"), 0).train()
    x = np.random.default_rng(7).standard_normal((2, 3, 64, 64))  # of its own: elsewhere it may lie at a kink
    report = gradcheck(model, x, np.array([1, 2]))
    assert report, report.conclusion()
    assert len(report.rows) > 900


@pytest.mark.parametrize("tolerance", [-1, 1, float("nan"), float("inf")])
def test_a_tolerance_that_would_pass_everything_or_nothing_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance bounds a relative error"):
        gradcheck(lambda x: (x, lambda dy: 7 * dy), np.ones(3), tolerance=tolerance)


def test_a_model_has_one_input_and_labels():
    with pytest.raises(TypeError, match="not 3 arrays"):
        gradcheck(npresnet.create_model("resnet20"), np.zeros((1, 3, 8, 8)), np.array([0]), np.array([0]))
