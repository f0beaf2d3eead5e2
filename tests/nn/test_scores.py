"""The scores of a chain that ends in a softmax are what the softmax is given, in the model as in its engine."""

import numpy as np
import pytest

from npresnet import optimize
from npresnet.analysis.features import feature_gradients, features
from npresnet.nn import Chain, GlobalAvgPool2d, Identity, Linear, ReLU, Residual, Sequential, Softmax

from ..support.modules import fill


class Halved(Chain):
    """A chain that does more than run its parts."""

    def __init__(self):
        self.softmax = Softmax()

    def __call__(self, x):
        return super().__call__(x) / 2

    def vjp(self, x, input_grad=True):
        y, pullback = super().vjp(x, input_grad)
        return y / 2, lambda dy: pullback(dy / 2)


def body():
    return [GlobalAvgPool2d(), ReLU(), Linear(3, 5)]


ENDS = {  # the layers behind the scores: the value is the softmax of the scores
    "in the chain": lambda: [Softmax()],
    "in a chain at the end": lambda: [Sequential(Identity(), Sequential(Softmax()))],
    "before what does nothing": lambda: [Softmax(), Identity(), Sequential(), Sequential(Identity())],
}
OTHERS = {  # the layers behind the scores: the value is the scores
    "none": list,
    "none in an empty chain": lambda: [Sequential()],
    "in a chain that does more": lambda: [Halved()],
    "in a branch": lambda: [Residual(Softmax(), Identity())],
    "before the end": lambda: [Softmax(), Identity(), ReLU()],
}


def made(end, dtype=np.float64):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(dtype)
    return fill(Sequential(*body(), *end)).astype(dtype), x


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_scores_are_what_the_softmax_is_given(end):
    model, x = made(end())
    scores = fill(Sequential(*body())).astype(np.float64)
    wanted, wanted_pullback = scores.vjp(x)
    np.testing.assert_array_equal(model.logits(x), wanted)
    y, pullback = model.logits_vjp(x)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(pullback(y), wanted_pullback(y))
    np.testing.assert_array_equal(model(x), Softmax()(wanted))
    assert model.logits_vjp(x, input_grad=False)[1](y) is None


@pytest.mark.parametrize("end", OTHERS.values(), ids=OTHERS)
def test_elsewhere_the_scores_are_the_value(end):
    model, x = made(end())
    np.testing.assert_array_equal(model.logits(x), model(x))
    np.testing.assert_array_equal(model.logits_vjp(x)[0], model(x))


@pytest.mark.parametrize("end", [*ENDS.values(), *OTHERS.values()], ids=[*ENDS, *OTHERS])
def test_the_engine_agrees(end):
    pytest.importorskip("numba")
    model, x = made(end(), np.float32)
    engine = optimize(model)
    np.testing.assert_allclose(engine.logits(x), model.logits(x), rtol=1e-5)
    np.testing.assert_allclose(engine(x), model(x), rtol=1e-5)


def test_features_are_those_on_the_way_to_the_scores():
    model, x = made(ENDS["in the chain"]())
    values, grads = feature_gradients(model, x, ["2"], [1, 4])
    np.testing.assert_array_equal(values["2"], model.logits(x))
    np.testing.assert_array_equal(grads["2"], np.eye(5)[[1, 4]])
    with pytest.raises(ValueError, match="nothing runs through 3"):
        features(model, x, ["3"])
