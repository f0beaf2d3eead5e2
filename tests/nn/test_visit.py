"""One walk over a model: everything that follows a value from layer to layer goes this way."""

import numpy as np
import pytest

from npresnet.models import build
from npresnet.nn import Identity, Linear, Module, ReLU, Residual, Sequential
from npresnet.nn.visit import Visitor

from ..support.modules import TABLE, Twice, fill, made


class Names(Visitor):
    """The names of the leaves in the order they run, with the sums between them."""

    def leaf(self, module, x, name):
        return [*x, name]

    def residual(self, module, x, name):
        return [*self.visit(module.shortcut, self.visit(module.branch, x, name), name), f"+{name}"]


def names(model):
    return Names(model).visit(model, [])


@pytest.mark.parametrize("name", [name for name in TABLE if "train" not in name])
def test_a_walk_over_arrays_computes_what_the_model_computes(name):
    module, x = made(name)
    np.testing.assert_array_equal(Visitor(module).visit(module, x), module(x))


def test_leaves_come_in_the_order_they_run_under_their_names():
    assert names(Twice()) == ["conv", "relu", "conv", "relu"]
    assert names(ReLU()) == [""] and names(Identity()) == []
    assert names(Sequential(Sequential(ReLU(), Identity()), ReLU())) == ["0.0", "1"]
    branch = ["0.0.branch.0", "0.0.branch.1", "0.0.shortcut.0", "+0.0"]
    assert names(Sequential(Sequential(Residual(Sequential(ReLU(), ReLU()), Sequential(ReLU()))))) == branch


def test_what_has_no_name_of_its_own_has_that_of_the_block_around_it():
    found = names(build("resnet20"))
    block = ["conv1", "bn1", "relu", "conv2", "bn2"]
    assert found[3:10] == [*(f"layer1.0.{part}" for part in block), "+layer1.0", "layer1.0.relu"]
    assert sum(name.startswith("+") for name in found) == 9


class Halved(Sequential):
    """A chain that does more than run its parts."""

    def __call__(self, x):
        return super().__call__(x) / 2


class Twofold(Residual):
    """A sum that does more."""

    def __call__(self, x):
        return 2 * super().__call__(x)


class Gate(Module):
    """A module that runs its parts in its own way."""

    def __init__(self):
        self.inner = Linear(4, 4)

    def __call__(self, x):
        return x * self.inner(x)


@pytest.mark.parametrize("make", [lambda: Halved(Linear(4, 4)), lambda: Twofold(Linear(4, 4), Identity()), Gate])
def test_what_runs_its_parts_in_its_own_way_is_a_leaf(make):
    model, x = fill(Sequential(ReLU(), make(), ReLU())), np.random.default_rng(0).standard_normal((3, 4), np.float32)
    assert names(model) == ["0", "1", "2"]
    np.testing.assert_array_equal(Visitor(model).visit(model, x), model(x))
