"""A batch norm and the ReLU behind it in one op: the values, gradients and statistics of the plain layers."""

import numpy as np
import pytest

from npresnet import ops
from npresnet.nn import BatchNorm2d, Conv2d, Identity, Module, ReLU, Residual, Sequential, freeze_batch_norm
from npresnet.nn.fusion import NormReLU, NormReLUConv, ResidualReLU, fused

from ..support.modules import fill

rng = np.random.default_rng(0)
X, DY = rng.standard_normal((3, 4, 6, 5)), rng.standard_normal((3, 4, 6, 5))


class OtherNorm(BatchNorm2d):
    pass


class OtherSum(Residual):
    pass


class Bare(Module):
    """y = 2 x, and no chain."""

    def vjp(self, x, input_grad=True):
        return 2 * x, lambda dy: 2 * dy


def branch(*end):
    return Sequential(Conv2d(4, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Conv2d(4, 4, 3, padding=1), *end)


def network():
    """Every kind of neighbours that are joined, an identity and a projection for shortcuts, and some that are not."""
    return fill(Sequential(
        ReLU(), Conv2d(4, 4, 3, padding=1), BatchNorm2d(4), ReLU(),
        Residual(branch(BatchNorm2d(4)), Identity()), ReLU(),
        Residual(branch(BatchNorm2d(4)), Sequential(Conv2d(4, 4, 1), BatchNorm2d(4))), ReLU(),
        Residual(branch(), Identity()), ReLU(), BatchNorm2d(4), Conv2d(4, 4, 1),
        BatchNorm2d(4), ReLU(), Conv2d(4, 4, 3, padding="same", bias=True))).train().astype(np.float64)


@pytest.fixture
def faster(monkeypatch):
    """As if there were a kernel for the arrays of this test."""
    asked = []
    for op in (ops.batch_norm_relu, ops.batch_norm_relu_conv2d):
        monkeypatch.setattr(op, "has_faster", lambda x: asked.append(x) or True)
    return asked


def a_step(model, input_grad=True):
    model.zero_grad()
    y, pullback = model.vjp(X, input_grad)
    dx = pullback(DY)
    found = {"y": y} | ({"dx": dx} if dx is not None else {})
    found |= {f"d{name}": box.grad for name, box in model.named_parameters() if box.grad is not None}
    return found | {name: box.value for name, box in model.named_arrays() if "running" in name}


@pytest.mark.parametrize("input_grad", [True, False])
def test_joined_layers_are_the_plain_ones(request, input_grad):
    due = a_step(network(), input_grad)
    asked, model = request.getfixturevalue("faster"), network()
    found = a_step(model, input_grad)
    assert found.keys() == due.keys() and ("dx" in due) == input_grad and any(x is X for x in asked)
    for name in due:
        np.testing.assert_allclose(found[name], due[name], rtol=1e-10, atol=1e-12, err_msg=name)
    asked.clear()
    np.testing.assert_allclose(network()(X), due["y"], rtol=1e-10)
    assert any(x is X for x in asked)


def test_a_trunk_that_asks_for_no_gradient_gets_none(faster):
    model = network()
    for box in getattr(model, "4").parameters():
        box.trainable = False
    found = a_step(model, input_grad=False)
    assert "d1.weight" in found and not any(name.startswith("d4.") for name in found)
    assert ResidualReLU(getattr(network(), "6")).vjp(X, input_grad=False)[1](DY) is None
    assert ResidualReLU(getattr(network(), "6")).vjp(X)[1](DY).shape == X.shape
    norm, conv = BatchNorm2d(4).train().astype(np.float64), Conv2d(4, 4, 1).astype(np.float64)
    for part in (NormReLU(norm), NormReLUConv(norm, conv)):
        assert part.vjp(X, input_grad=False)[1](DY) is None and part.vjp(X)[1](DY).shape == X.shape


def test_which_neighbours_are_fused(faster):
    kinds = [type(part) for part in fused(network().layers(), X)]
    assert kinds == [ReLU, Conv2d, NormReLU, ResidualReLU, ResidualReLU, Residual, ReLU, BatchNorm2d, Conv2d,
                     NormReLUConv]


def test_a_convolution_joins_where_its_op_has_a_kernel(faster, monkeypatch):
    layers = BatchNorm2d(4).train(), ReLU(), Conv2d(4, 4, 1)
    assert [type(part) for part in fused(layers, X)] == [NormReLUConv]
    monkeypatch.setattr(ops.batch_norm_relu_conv2d, "has_faster", lambda x: False)
    assert [type(part) for part in fused(layers, X)] == [NormReLU, Conv2d]


def test_a_pullback_of_joined_layers_runs_once(faster):
    norm = BatchNorm2d(4).train()
    for part in (NormReLU(norm), NormReLUConv(norm, Conv2d(4, 4, 1)),
                 ResidualReLU(Residual(branch(BatchNorm2d(4)).train(), Identity()))):
        _, pullback = part.vjp(X.astype(np.float32))
        pullback(DY.astype(np.float32))
        with pytest.raises(RuntimeError, match="once"):
            pullback(DY.astype(np.float32))


@pytest.mark.parametrize("make", [
    lambda: BatchNorm2d(4).eval(), lambda: freeze_batch_norm(BatchNorm2d(4)).train(), lambda: OtherNorm(4).train(),
    lambda: Residual(Bare(), Identity()).train(), lambda: Residual(branch(BatchNorm2d(4)), Identity()).eval(),
    lambda: OtherSum(branch(BatchNorm2d(4)), Identity()).train(), lambda: Residual(branch(ReLU()), Identity()).train()],
    ids=["eval", "frozen", "another norm", "no chain", "a block in eval", "another sum", "a branch without a norm"])
def test_what_is_not_fused(faster, make):
    layers = (Identity(), make(), ReLU())
    assert fused(layers, X) == list(layers)


def test_where_no_kernel_is_nothing_is_fused():
    layers = (BatchNorm2d(4).train(), ReLU())
    assert fused(layers, X) is layers
