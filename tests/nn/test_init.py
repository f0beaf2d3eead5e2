"""Fresh weights: their laws, and that a seed means the same everywhere."""

import numpy as np
import pytest

from npresnet.nn import (
    BatchNorm2d,
    ChannelConv,
    Conv2d,
    GroupNorm,
    Linear,
    Module,
    ReLU,
    Sequential,
    initialize,
    zero_last_gamma,
)


def net():
    return Sequential(
        Conv2d(64, 128, (3, 5), groups=2),
        BatchNorm2d(128),
        ReLU(),
        Conv2d(128, 8, 1, bias=True),
        Linear(400, 300),
        Linear(400, 50, bias=False),
    )


def test_convolutions_are_normal_with_variance_two_over_fan_out():
    w = initialize(net()).state_dict()["0.weight"]
    assert w.shape == (128, 32, 3, 5) and w.dtype == np.float32
    deviation = np.sqrt(2 / (128 * 3 * 5))
    z = w.astype(np.float64) / deviation
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.01
    assert abs((abs(z) < 1).mean() - 0.6827) < 0.01 and abs(z).max() > 3.5


def test_the_classifier_is_uniform_within_one_over_the_root_of_its_inputs():
    state = initialize(net()).state_dict()
    for key in ("4.weight", "4.bias", "5.weight"):
        z = state[key].astype(np.float64) * 20  # √400
        assert state[key].dtype == np.float32
        assert abs(z).max() <= 1 and z.max() > 0.98 and z.min() < -0.98
        assert abs(z.mean()) < 0.1 and abs(z.std() - 3**-0.5) < 0.03


def test_batch_norms_and_the_biases_of_convolutions_stay():
    state = initialize(net()).state_dict()
    assert set(initialize(GroupNorm(2, 4)).state_dict()["weight"]) == {1}
    assert (state["1.weight"] == 1).all() and not state["1.bias"].any() and not state["3.bias"].any()


def test_a_seed_means_the_same_weights():
    first, again, other = (initialize(net(), seed).state_dict() for seed in (3, 3, 4))
    for key in ("0.weight", "3.weight", "4.weight", "4.bias"):
        np.testing.assert_array_equal(first[key], again[key])
        assert (first[key] != other[key]).any()
    default, zero = initialize(net()).state_dict(), initialize(net(), 0).state_dict()
    np.testing.assert_array_equal(default["0.weight"], zero["0.weight"])


def test_known_draws():
    """Pinned numbers: a saved seed must go on meaning the same weights."""
    model = initialize(Sequential(Conv2d(1, 2, 1), Linear(4, 1)), seed=0)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(model.state_dict()["0.weight"].ravel(), rng.standard_normal(2, np.float32), rtol=1e-6)
    wanted = np.concatenate([rng.uniform(-0.5, 0.5, 4), rng.uniform(-0.5, 0.5, 1)])
    np.testing.assert_allclose(
        np.concatenate([model.state_dict()["1.weight"].ravel(), model.state_dict()["1.bias"]]), wanted, rtol=1e-6
    )


def test_initialize_returns_the_model():
    model = net()
    assert initialize(model) is model


class Block(Module):
    def __init__(self):
        self.bn1, self.bn2 = BatchNorm2d(2), BatchNorm2d(3)
        self.conv = Conv2d(2, 2, 1)

    @property
    def last_norm(self):
        return self.bn2


class Plain(Module):
    last_norm = None

    def __init__(self):
        self.bn1 = BatchNorm2d(2)


def test_zero_last_gamma_touches_the_last_norm_of_each_block_alone():
    model = Sequential(Block(), Plain(), BatchNorm2d(2))
    old = model.children()["0"].bn2.weight.value
    assert zero_last_gamma(model) is model
    gammas = {key: a.tolist() for key, a in model.state_dict().items() if key.endswith("weight") and a.ndim == 1}
    assert gammas.pop("0.bn2.weight") == [0, 0, 0]
    assert all(set(gamma) == {1} for gamma in gammas.values())
    assert old.tolist() == [1, 1, 1]
    assert model.children()["0"].bn2.weight.value.dtype == np.float32
    model[0].bn2 = GroupNorm(1, 3)
    assert not zero_last_gamma(model)[0].bn2.weight.value.any()


@pytest.mark.parametrize("seed", [0, 12345])
def test_every_weight_of_a_model_is_drawn(seed):
    state = initialize(net(), seed).state_dict()
    assert all(a.std() > 0 for key, a in state.items() if key.endswith("weight") and a.ndim > 1)


def test_the_weights_of_a_channel_convolution_are_uniform_within_their_bound():
    model = initialize(Sequential(*(ChannelConv(5) for _ in range(400))), 3)
    drawn = np.concatenate([array.ravel() for array in model.state_dict().values()])
    bound = 5**-0.5
    assert drawn.dtype == np.float32 and abs(drawn).max() <= bound
    assert drawn.min() < -0.99 * bound and drawn.max() > 0.99 * bound and abs(drawn.mean()) < 0.05 * bound


def test_a_part_gets_what_it_gets_in_the_whole_and_nothing_else_is_touched():
    whole, model, before = initialize(net(), 3), net(), net()
    part = model.children()["4"]
    assert initialize(model, 3, part=part) is model
    wanted = before.state_dict() | {key: array for key, array in whole.state_dict().items() if key.startswith("4.")}
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, wanted[key])
    assert part.weight.value.any() and part.bias.value.any()
