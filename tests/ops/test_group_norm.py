"""Group norm: what it depends on, and what it refuses."""

import numpy as np
import pytest

from npresnet.ops import batch_norm_train, group_norm, group_norm_cast

RNG = np.random.default_rng(0)
X = 5 + 3 * RNG.standard_normal((4, 6, 3, 5))
GAMMA, BETA = RNG.standard_normal((2, 6))


def test_an_image_does_not_depend_on_the_others():
    y, pullback = group_norm(X, GAMMA, BETA, groups=3, eps=1e-5)
    dy = RNG.standard_normal(X.shape)
    dx = pullback(dy)[0]
    for i in range(len(X)):
        alone, alone_pullback = group_norm(X[i : i + 1], GAMMA, BETA, groups=3, eps=1e-5)
        np.testing.assert_allclose(alone, y[i : i + 1], rtol=1e-13)
        np.testing.assert_allclose(alone_pullback(dy[i : i + 1])[0], dx[i : i + 1], rtol=0, atol=1e-14)


def test_each_channel_of_one_image_by_itself_is_batch_norm():
    x = X[:1]
    y, pullback = group_norm(x, GAMMA, BETA, groups=6, eps=0.1)
    wanted, wanted_pullback, _ = batch_norm_train(x, GAMMA, BETA, eps=0.1)
    np.testing.assert_allclose(y, wanted, rtol=1e-12)
    for found, due in zip(pullback(y), wanted_pullback(wanted)):
        np.testing.assert_allclose(found, due, rtol=1e-12, atol=1e-13)


def test_a_mean_far_from_zero_costs_no_digits():
    x = (1e5 + X).astype(np.float32)
    y, _ = group_norm(x, np.ones(6, np.float32), np.zeros(6, np.float32), groups=2, eps=1e-5)
    wanted, _ = group_norm(x.astype(np.float64), np.ones(6), np.zeros(6), groups=2, eps=1e-5)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


def test_a_group_of_one_value_is_beta():
    y, pullback = group_norm(X[:, :, :1, :1], GAMMA, BETA, groups=6, eps=1e-5)
    np.testing.assert_array_equal(y[:, :, 0, 0], np.broadcast_to(BETA, (4, 6)))
    assert not pullback(y)[0].any()


@pytest.mark.parametrize("groups", [4, 5, 12])
def test_groups_that_do_not_divide_the_channels_raise(groups):
    with pytest.raises(ValueError, match=f"groups must divide the 6 channels, not {groups}"):
        group_norm(X, GAMMA, BETA, groups=groups, eps=1e-5)
    with pytest.raises(ValueError, match="groups must be at least 1"):
        group_norm(X, GAMMA, BETA, groups=0, eps=1e-5)


@pytest.mark.parametrize("x, others", [((2, 6), GAMMA), ((2, 4, 2, 2), GAMMA), ((2, 6, 2, 2), np.ones((6, 1)))])
def test_shapes_that_do_not_fit_raise(x, others):
    with pytest.raises(ValueError, match=r"group norm takes x \(N, C, H, W\) and arrays \(C,\)"):
        group_norm(np.ones(x), others, others, groups=2, eps=1e-5)


def test_between_casts_it_computes_in_float32():
    x, gamma, beta = X.astype(np.float16), GAMMA.astype(np.float32), BETA.astype(np.float32)
    y, pullback = group_norm_cast(x, gamma, beta, groups=2, eps=1e-5)
    y_due, pullback_due = group_norm(x.astype(np.float32), gamma, beta, groups=2, eps=1e-5)
    np.testing.assert_array_equal(y, y_due.astype(np.float16))
    dx, *gradients = pullback(y)
    dx_due, *gradients_due = pullback_due(y.astype(np.float32))
    np.testing.assert_array_equal(dx, dx_due.astype(np.float16))
    np.testing.assert_array_equal(gradients, gradients_due)
    assert pullback(y, skip={"x", "gamma", "beta"}) == (None, None, None)
