"""A batch norm and the ReLU behind it in one op: the values, gradients and statistics of the plain layers."""

import copy
import pickle

import numpy as np
import pytest

from npresnet import ops
from npresnet.nn import (
    GELU,
    BatchNorm2d,
    Conv2d,
    GroupNorm,
    Identity,
    LeakyReLU,
    Module,
    ReLU,
    Residual,
    Sequential,
    SiLU,
    freeze_batch_norm,
    fusion,
)
from npresnet.nn.fusion import NormReLU, NormReLUConv, ResidualReLU, fused

from ..support.modules import fill

rng = np.random.default_rng(0)
X, DY = rng.standard_normal((3, 4, 6, 5)), rng.standard_normal((3, 4, 6, 5))


class OtherNorm(BatchNorm2d):
    pass


class OtherSum(Residual):
    pass


class Halved(Sequential):
    """A chain that does more than run its parts."""

    def __call__(self, x):
        return super().__call__(x) / 2

    def vjp(self, x, input_grad=True):
        y, pullback = super().vjp(x, input_grad)
        return y / 2, lambda dy: pullback(dy / 2)


class Bare(Module):
    """y = 2 x, and no chain."""

    def vjp(self, x, input_grad=True):
        return 2 * x, lambda dy: 2 * dy


def branch(*end):
    return Sequential(Conv2d(4, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Conv2d(4, 4, 3, padding=1), *end)


def network():
    """Every kind of neighbours that are joined, an identity and a projection for shortcuts, and some that are not."""
    return (
        fill(
            Sequential(
                ReLU(),
                Conv2d(4, 4, 3, padding=1),
                BatchNorm2d(4),
                ReLU(),
                Residual(branch(BatchNorm2d(4)), Identity()),
                ReLU(),
                Residual(branch(BatchNorm2d(4)), Sequential(Conv2d(4, 4, 1), BatchNorm2d(4))),
                ReLU(),
                Residual(branch(), Identity()),
                ReLU(),
                BatchNorm2d(4),
                Conv2d(4, 4, 1),
                BatchNorm2d(4),
                ReLU(),
                Conv2d(4, 4, 3, padding="same", bias=True),
            )
        )
        .train()
        .astype(np.float64)
    )


INNER = "batch_norm_relu_conv2d"  # of each branch
RUNS = ["batch_norm_relu", INNER, "batch_norm_add_relu", INNER, "batch_norm_add_relu", INNER, INNER]


FUSED = {"batch_norm_relu", "batch_norm_relu_conv2d", "batch_norm_add_relu"}


@pytest.fixture
def faster(monkeypatch):
    """As if there were a kernel for the arrays of this test; the names of the fused ops as they run."""
    ran = []
    for op in (ops.batch_norm_relu, ops.batch_norm_relu_conv2d):
        monkeypatch.setattr(op, "has_faster", lambda x: isinstance(x, np.ndarray))
    by_batch = BatchNorm2d.by_batch

    def recording(self, op, *args, **kwargs):
        ran.extend({op.__name__} & FUSED)
        return by_batch(self, op, *args, **kwargs)

    monkeypatch.setattr(BatchNorm2d, "by_batch", recording)
    return ran


def a_step(model, input_grad=True):
    model.zero_grad()
    y, pullback = model.vjp(X, input_grad)
    dx = pullback(DY)
    found = {"y": y} | ({"dx": dx} if dx is not None else {})
    found |= {f"d{name}": array.grad for name, array in model.named_parameters() if array.grad is not None}
    return found | {name: array.value for name, array in model.named_arrays() if "running" in name}


@pytest.mark.parametrize("input_grad", [True, False])
def test_joined_layers_are_the_plain_ones(request, input_grad):
    due = a_step(network(), input_grad)
    ran, model = request.getfixturevalue("faster"), network()
    found = a_step(model, input_grad)
    assert found.keys() == due.keys() and ("dx" in due) == input_grad and ran == RUNS
    for name in due:
        np.testing.assert_allclose(found[name], due[name], rtol=1e-10, atol=1e-12, err_msg=name)
    ran.clear()
    np.testing.assert_allclose(network()(X), due["y"], rtol=1e-10)
    assert ran == RUNS


def joined(kind, *layers):
    """The one part that these layers become."""
    (part,) = fused(layers)
    assert kinds([part]) == [kind.__name__]
    return part


def kinds(parts):
    return [type(part).__name__ for part in parts]


def test_a_trunk_that_asks_for_no_gradient_gets_none(faster):
    model = network()
    for parameter in getattr(model, "4").parameters():
        parameter.trainable = False
    found = a_step(model, input_grad=False)
    assert "d1.weight" in found and not any(name.startswith("d4.") for name in found)
    norm, conv = BatchNorm2d(4).train().astype(np.float64), Conv2d(4, 4, 1).astype(np.float64)
    for part in (NormReLU(norm, ReLU()), NormReLUConv(norm, ReLU(), conv), ResidualReLU(network()[6], ReLU())):
        faster.clear()
        assert part.vjp(X, input_grad=False)[1](DY) is None and part.vjp(X)[1](DY).shape == X.shape
        assert faster and set(faster) <= FUSED


def test_which_neighbours_belong_together():
    assert kinds(fused(network().layers())) == [
        "ReLU",
        "Conv2d",
        "NormReLU",
        "ResidualReLU",
        "ResidualReLU",
        "ResidualReLU",
        "BatchNorm2d",
        "Conv2d",
        "NormReLUConv",
    ]
    layers = (ReLU(), BatchNorm2d(4), ReLU(), ReLU(), OtherNorm(4), ReLU(), OtherSum(Identity(), Identity()), ReLU())
    parts = fused(layers)
    assert kinds(parts) == ["ReLU", "NormReLU", "ReLU", "OtherNorm", "ReLU", "OtherSum", "ReLU"]
    assert parts[1].layers() == layers[1:3] and parts[2:] == layers[3:] and fused(()) == ()


@pytest.mark.parametrize("activation", [LeakyReLU, GELU, SiLU])
def test_only_a_relu_joins(activation):
    norm, total = BatchNorm2d(4).train(), Residual(branch(BatchNorm2d(4)), Identity())
    layers = norm, activation(), Conv2d(4, 4, 1), total, activation(), GroupNorm(2, 4), ReLU()
    assert fused(layers) == layers


def test_it_is_decided_once_for_a_sequence_of_types(faster):
    fusion.groups.cache_clear()
    for _ in range(3):
        a_step(network())
    assert fusion.groups.cache_info().misses == 3  # the network's, the branches', the shortcut's


def test_a_convolution_joins_where_its_op_has_a_kernel(faster, monkeypatch):
    part = joined(NormReLUConv, BatchNorm2d(4).train(), ReLU(), Conv2d(4, 4, 1))
    x = X.astype(np.float32)
    part(x)
    assert faster == ["batch_norm_relu_conv2d"]
    monkeypatch.setattr(ops.batch_norm_relu_conv2d, "has_faster", lambda x: False)
    part(x)
    assert faster[1:] == ["batch_norm_relu"]


def test_a_pullback_of_joined_layers_runs_once(faster):
    norm = BatchNorm2d(4).train()
    for part in (
        NormReLU(norm, ReLU()),
        NormReLUConv(norm, ReLU(), Conv2d(4, 4, 1)),
        ResidualReLU(Residual(branch(BatchNorm2d(4)).train(), Identity()), ReLU()),
    ):
        _, pullback = part.vjp(X.astype(np.float32))
        pullback(DY.astype(np.float32))
        with pytest.raises(RuntimeError, match="once"):
            pullback(DY.astype(np.float32))


PLAIN = {
    "eval": lambda: BatchNorm2d(4).eval(),
    "frozen": lambda: freeze_batch_norm(BatchNorm2d(4)).train(),
    "another norm": lambda: OtherNorm(4).train(),
    "no chain": lambda: Residual(Bare(), Identity()).train(),
    "a block in eval": lambda: Residual(branch(BatchNorm2d(4)), Identity()).eval(),
    "another sum": lambda: OtherSum(BatchNorm2d(4), Identity()).train(),
    "a branch without a norm": lambda: Residual(Sequential(BatchNorm2d(4), Conv2d(4, 4, 1)), Identity()).train(),
    "an empty branch": lambda: Residual(Sequential(), Identity()).train(),
    "a chain that does more": lambda: Residual(Halved(BatchNorm2d(4)), Identity()).train(),
    "a norm that is no chain": lambda: Residual(BatchNorm2d(4), Identity()).train(),
}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_what_runs_one_by_one(faster, make):
    """Joined or not: the layers' own ops, values and gradients."""
    first = fill(make()).astype(np.float64)
    due, due_pullback = first.map_arrays(np.copy).vjp(X)
    faster.clear()
    y, pullback = Sequential(first, ReLU(), ReLU()).vjp(X)
    np.testing.assert_array_equal(y, np.maximum(due, 0))
    np.testing.assert_array_equal(pullback(DY), due_pullback(DY * (due > 0)))
    np.testing.assert_array_equal(Sequential(first.map_arrays(np.copy), ReLU())(X)[due <= 0], 0)
    assert not faster


def test_where_no_kernel_is_the_layers_run():
    norm = BatchNorm2d(4).train().astype(np.float64)
    part = NormReLUConv(norm, ReLU(), Conv2d(4, 4, 1).astype(np.float64))
    assert not part.supports(X) and not part.norm_relu.supports(X)
    assert not ResidualReLU(Residual(Sequential(norm), Identity()), ReLU()).supports(X)


class Mute(fusion.Fused):
    """A fused op that does not say how it runs."""

    def supports(self, x):
        return True


@pytest.mark.parametrize("kind", [fusion.Fused, Mute])
def test_a_fused_op_says_when_and_how_it_runs(kind):
    for run in (kind(), kind().vjp):
        with pytest.raises(NotImplementedError):
            run(X)


def changed(change):
    model = network()
    a_step(model)
    return change(model) or model


CHANGES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "freezing": lambda model: freeze_batch_norm(model),
    "eval": lambda model: model.eval(),
    "another layer": lambda model: setattr(model, "3", Identity()),
    "another norm": lambda model: setattr(model, "2", fill(BatchNorm2d(4), 3).train().astype(np.float64)),
    "inside a block": lambda model: setattr(model[4].branch, "4", fill(BatchNorm2d(4), 3).eval().astype(np.float64)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_model_may_change_after_its_first_call(request, change):
    plain = a_step(changed(change))
    request.getfixturevalue("faster")
    model = changed(change)
    assert not {name for name, _ in model.named_modules()} & {"norm", "relu", "residual"}
    found = a_step(model)
    assert found.keys() == plain.keys()
    for name in found:
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-9, atol=1e-11, err_msg=name)
