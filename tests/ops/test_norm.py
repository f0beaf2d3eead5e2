"""Batch norm: what it is blind to, and what it refuses."""

import numpy as np
import pytest

from npresnet.ops import batch_norm_eval, batch_norm_train

C = np.ones(3)


def test_the_output_has_mean_beta_and_deviation_gamma():
    x = 5 + 3 * np.random.default_rng(0).standard_normal((4, 3, 5, 6))
    gamma, beta = np.array([1.0, -2.0, 0.5]), np.array([0.0, 3.0, -1.0])
    y, _, (mean, var) = batch_norm_train(x, gamma, beta, eps=0)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), beta, atol=1e-14)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), abs(gamma))
    np.testing.assert_allclose(mean, x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(var, x.var(axis=(0, 2, 3)))  # of the batch, divided by m


def test_the_pullback_is_blind_to_shifts_and_scales():
    """dx has no component along 1 nor along x̂: a cotangent of ones gives nothing at all, whatever the signs are."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 5, 6))
    y, pullback, _ = batch_norm_train(x, C, 0 * C, eps=1e-12)
    np.testing.assert_allclose(pullback(np.ones_like(y))[0], 0, atol=1e-14)
    np.testing.assert_allclose(pullback(y)[0], 0, atol=1e-10)
    dx = pullback(rng.standard_normal(y.shape))[0]
    assert abs(dx).max() > 0.1
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose((dx * y).sum(axis=(0, 2, 3)), 0, atol=1e-9)


def test_one_value_per_channel_has_no_variance():
    x = np.ones((1, 3, 1, 1))
    with pytest.raises(ValueError, match=r"one value per channel .*larger batch .*freeze_batch_norm"):
        batch_norm_train(x, C, C, eps=1e-5)
    assert batch_norm_eval(x, C, C, C, C, eps=1e-5)[0].shape == x.shape


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_a_batch_without_a_value_has_statistics_of_zero(shape):
    y, pullback, (mean, var) = batch_norm_train(np.ones(shape), C, C, eps=0.1)
    assert y.shape == shape and not mean.any() and not var.any()
    for gradient in pullback(y)[1:]:
        np.testing.assert_array_equal(gradient, [0, 0, 0])


@pytest.mark.parametrize("gamma, beta", [(None, None), (None, C), (2 * C, None)])
def test_without_gamma_and_beta_they_are_one_and_zero(gamma, beta):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    due = C if gamma is None else gamma, 0 * C if beta is None else beta
    for op, statistics in ((batch_norm_train, ()), (batch_norm_eval, (C / 2, C / 3))):
        y, pullback, *_ = op(x, gamma, beta, *statistics, eps=0.1)
        y_due, pullback_due, *_ = op(x, *due, *statistics, eps=0.1)
        np.testing.assert_array_equal(y, y_due)
        for found, array, wanted in zip(pullback(x), (x, gamma, beta), pullback_due(x)):
            assert found is None if array is None else (found == wanted).all()


@pytest.mark.parametrize("x, others", [((2, 3), C), ((2, 4, 2, 2), C), ((2, 3, 2, 2), np.ones((3, 1)))])
def test_shapes_that_do_not_fit_raise(x, others):
    with pytest.raises(ValueError, match=r"batch norm takes x \(N, C, H, W\) and arrays \(C,\)"):
        batch_norm_train(np.ones(x), others, others, eps=1e-5)
    with pytest.raises(ValueError, match=r"batch norm takes x \(N, C, H, W\) and arrays \(C,\)"):
        batch_norm_eval(np.ones(x), others, others, others, others, eps=1e-5)


@pytest.mark.parametrize("position", range(4))
def test_each_array_per_channel_is_checked(position):
    arrays = [np.ones(4) if i == position else C for i in range(4)]
    with pytest.raises(ValueError, match="batch norm takes"):
        batch_norm_eval(np.ones((2, 3, 2, 2)), *arrays, eps=1e-5)
    if position < 2:
        with pytest.raises(ValueError, match="batch norm takes"):
            batch_norm_train(np.ones((2, 3, 2, 2)), *arrays[:2], eps=1e-5)


def test_a_mean_far_from_zero_costs_no_digits():
    """A float32 mean of 1e5 is off by up to 4e-3; what is left of it is taken off again."""
    x = (1e5 + np.random.default_rng(0).standard_normal((8, 3, 5, 6))).astype(np.float32)
    y, _, (_, var) = batch_norm_train(x, C.astype("f"), 0 * C.astype("f"), eps=0.0)
    due, _, (_, var_due) = batch_norm_train(x.astype(float), C, 0 * C, eps=0.0)
    np.testing.assert_allclose(y, due, rtol=0, atol=2e-6)
    np.testing.assert_allclose(var, var_due, rtol=2e-6)
