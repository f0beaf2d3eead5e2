"""Ops outside the table: the sum of two paths, casts and what lies between two of them, an optimiser's step."""

import numpy as np
import pytest

from npresnet import ops

from ..support import fake_cupy

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4, 5, 6), np.float32)
GAMMA, BETA, MEAN = (rng.standard_normal(4, np.float32) for _ in range(3))


def locked(*arrays):
    for a in arrays:
        a.flags.writeable = False
    return arrays


def test_a_sum_hands_its_cotangent_to_both_paths():
    a, b, dy = locked(X.copy(), X + 1, X * 2)
    y, pullback = ops.add(a, b)
    np.testing.assert_array_equal(y, a + b)
    np.testing.assert_array_equal(pullback(dy), (dy, dy))
    with pytest.raises(TypeError, match="one dtype"):
        ops.add(a, b.astype(np.float64))
    with pytest.raises(ValueError, match="one shape"):
        ops.add(a, b[:, :1])
    with fake_cupy.installed() as cupy, pytest.raises(TypeError, match=r"to_device\(\)"):
        ops.add(a, cupy.asarray(b))


def test_a_cast_is_undone_by_its_pullback():
    y, pullback = ops.cast(*locked(X.copy()), np.float16)
    np.testing.assert_array_equal(y, X.astype(np.float16))
    dx = pullback(y * 2)
    np.testing.assert_array_equal(dx, y.astype(np.float32) * 2)
    assert y.dtype == np.float16 and dx.dtype == np.float32


def test_a_cast_to_the_own_dtype_copies_nothing():
    y, pullback = ops.cast(X, np.float32)
    assert y is X and pullback(y) is y


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_between_casts_keeps_its_statistics_in_float32(training):
    x = X.astype(np.float16)
    stored = () if training else (MEAN, MEAN**2)
    op, plain = (
        (ops.batch_norm_train_cast, ops.batch_norm_train)
        if training
        else (ops.batch_norm_eval_cast, ops.batch_norm_eval)
    )
    y, pullback, *extras = op(*locked(x, GAMMA, BETA, *stored), eps=1e-5)
    y_due, pullback_due, *extras_due = plain(x.astype(np.float32), GAMMA, BETA, *stored, eps=1e-5)
    np.testing.assert_array_equal(y, y_due.astype(np.float16))
    for found, due in zip(extras, extras_due):
        np.testing.assert_array_equal(found, due)
        assert found[0].dtype == np.float32
    dy = rng.standard_normal(x.shape).astype(np.float16)
    dx, *gradients = pullback(dy)
    dx_due, *gradients_due = pullback_due(dy.astype(np.float32))
    np.testing.assert_array_equal(dx, dx_due.astype(np.float16))
    for found, due in zip(gradients, gradients_due, strict=True):
        np.testing.assert_array_equal(found, due)
        assert found.dtype == np.float32
    assert pullback(dy, skip={"x", "gamma", "beta"}) == (None, None, None)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_momentum_step_is_torchs(nesterov):
    w, g, v = locked(GAMMA.copy(), BETA.copy(), MEAN.copy())
    new_w, new_v = ops.momentum_step(w, g, v, 0.1, momentum=0.9, nesterov=nesterov, decay=0.01)
    slope = g + 0.01 * w
    np.testing.assert_allclose(new_v, 0.9 * v + slope, rtol=1e-6)
    np.testing.assert_allclose(new_w, w - 0.1 * (slope + 0.9 * new_v if nesterov else new_v), rtol=1e-6)
    first_w, first_v = ops.momentum_step(w, g, None, 0.1, momentum=0.9)
    np.testing.assert_array_equal(first_v, g)
    np.testing.assert_allclose(first_w, w - 0.1 * g, rtol=1e-6)


def test_moving_statistics_are_torchs():
    mean, var, batch_mean, batch_var = locked(MEAN.copy(), GAMMA**2, GAMMA.copy(), BETA**2)
    new_mean, new_var = ops.moving_statistics(mean, var, batch_mean, batch_var, momentum=0.1, correction=1.25)
    np.testing.assert_allclose(new_mean, 0.9 * mean + 0.1 * batch_mean, rtol=1e-6)
    np.testing.assert_allclose(new_var, 0.9 * var + 0.125 * batch_var, rtol=1e-6)
    np.testing.assert_allclose(
        ops.moving_statistics(mean, var, batch_mean, batch_var, momentum=0.5)[1], (var + batch_var) / 2, rtol=1e-6
    )


@pytest.mark.parametrize(
    "cast_op, op, statics",
    [
        (ops.batch_norm_train_cast, ops.batch_norm_train, {}),
        (ops.batch_norm_eval_cast, ops.batch_norm_eval, {"mean": 0.5, "var": 2.0}),
        (ops.group_norm_cast, ops.group_norm, {"groups": 2}),
    ],
)
@pytest.mark.parametrize("gamma", [None, np.float32, np.float64])
def test_the_precision_of_a_norm_is_gamma_s_or_float32(cast_op, op, statics, gamma):
    x = np.random.default_rng(0).standard_normal((3, 4, 2, 2)).astype(np.float16)
    wide = np.float32 if gamma is None else gamma
    affine = (
        {"gamma": None, "beta": None} if gamma is None else {"gamma": np.full(4, 1.5, wide), "beta": np.ones(4, wide)}
    )
    statics = {name: value if name == "groups" else np.full(4, value, wide) for name, value in statics.items()}
    y, pullback, *extras = cast_op(x, **affine, **statics, eps=0.1)
    due, due_pullback, *due_extras = op(x.astype(wide), **affine, **statics, eps=0.1)
    assert y.dtype == x.dtype and all(moment.dtype == wide for moments in extras for moment in moments)
    np.testing.assert_array_equal(y, due.astype(x.dtype))
    np.testing.assert_array_equal(extras, due_extras)
    for found, wanted in zip(pullback(x), due_pullback(x.astype(wide))):
        assert (found is None) == (wanted is None)
        if found is not None:
            np.testing.assert_array_equal(found, wanted.astype(found.dtype))
            assert found.dtype == (x.dtype if found.ndim == 4 else wide)
