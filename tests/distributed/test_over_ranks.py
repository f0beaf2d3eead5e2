"""Ops over ranks: what n ranks compute on their shares is what one computes on the whole, and so is the pullback."""

import numpy as np
import pytest

from npresnet import nn, ops
from npresnet.backend import use
from npresnet.distributed import Alone, simulate

from ..support.laws import STEP

SHARES = [(4,), (3, 1), (2, 0, 5), (1, 1, 1, 4), (0, 6), (1, 1)]  # images on each rank
BOUND = {np.float64: 1e-12, np.float32: 3e-6}


def drawn(shares, channels=16, dtype=np.float64, seed=0):
    """(the ranks' x, gamma, beta, the ranks' cotangents)"""
    rng = np.random.default_rng([seed, *shares])

    def images():
        return [(3 * rng.standard_normal((n, channels, 3, 2)) + 5).astype(dtype) for n in shares]

    gamma, beta = (rng.standard_normal(channels).astype(dtype) for _ in range(2))
    return images(), gamma, beta, images()


def over_ranks(op, xs, dys, *arrays, each=(), **static):
    """What every rank finds: (y, gradients, extras); ``each`` are further arrays that differ from rank to rank."""

    def run(ranks):
        own = [array[ranks.rank] for array in each]
        y, pullback, *extras = op(xs[ranks.rank], *arrays, *own, **static, ranks=ranks)
        return y, pullback(dys[ranks.rank]), *extras

    return simulate(len(xs), run)


def assert_close(found, wanted, bound):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound * max(1, np.abs(wanted).max(initial=0)))


def check(op, plain, shares, dtype, backend, more=0):
    """Values, gradients and statistics of ``op`` over ranks are those of ``plain`` on all images; ``more``: of the
    arrays that each rank has its own share of, behind beta."""
    (xs, gamma, beta, dys), bound = drawn(shares, dtype=dtype), BOUND[dtype]
    each = [drawn(shares, dtype=dtype, seed=1 + k)[0] for k in range(more)]
    with use(backend):
        found = over_ranks(op, xs, dys, gamma, beta, each=each, eps=1e-5)
    with use("numpy"):
        whole = np.concatenate
        y, pullback, moments = plain(whole(xs), gamma, beta, *map(whole, each), eps=1e-5)
        dx, dgamma, dbeta, *others = pullback(whole(dys))
    assert_close(whole([f[0] for f in found]), y, bound)
    assert_close(whole([f[1][0] for f in found]), dx, bound)
    for k, wanted in enumerate(others):
        assert_close(whole([f[1][3 + k] for f in found]), wanted, bound)
    assert_close(sum(f[1][1] for f in found), dgamma, bound * 4)
    assert_close(sum(f[1][2] for f in found), dbeta, bound * 4)
    for _, _, (mean, var, counts) in found:
        assert_close(mean, moments[0], bound)
        assert_close(var, moments[1], bound * 4)
        assert counts.tolist() == [6 * n for n in shares]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shares", SHARES, ids=str)
def test_batch_norm_over_ranks_is_that_of_all_images(shares, dtype, backend):
    check(ops.sync_batch_norm_train, ops.batch_norm_train, shares, dtype, backend)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shares", SHARES[:3], ids=str)
def test_fused_ops_over_ranks(shares, dtype):
    check(ops.batch_norm_relu, ops.batch_norm_relu, shares, dtype, "numba")
    check(ops.batch_norm_add_relu, ops.batch_norm_add_relu, shares, dtype, "numba", more=1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_convolution_behind_batch_norm_over_ranks(dtype):
    shares = (3, 2)
    xs, gamma, beta, _ = drawn(shares, dtype=dtype)
    w = np.random.default_rng(5).standard_normal((16, 16, 3, 3)).astype(dtype)
    dys = drawn(shares, dtype=dtype, seed=9)[0]
    found = over_ranks(ops.batch_norm_relu_conv2d, xs, dys, gamma, beta, w, eps=1e-5, padding=1)
    with use("numpy"):
        y, pullback, _ = ops.batch_norm_relu_conv2d(np.concatenate(xs), gamma, beta, w, eps=1e-5, padding=1)
        dx, _, _, dw, _ = pullback(np.concatenate(dys))
    assert_close(np.concatenate([f[0] for f in found]), y, 4 * BOUND[dtype])
    assert_close(np.concatenate([f[1][0] for f in found]), dx, 4 * BOUND[dtype])
    assert_close(sum(f[1][3] for f in found), dw, 8 * BOUND[dtype])


def inner(us, vs):
    return sum(float(np.vdot(u, v)) for u, v in zip(us, vs))


def test_the_sum_over_ranks_is_its_own_transpose():
    """Σ_r ⟨u_r, (Jv)_r⟩ = Σ_r ⟨(J′u)_r, v_r⟩."""
    us, vs = np.random.default_rng(0).standard_normal((2, 3, 4, 5))

    def run(ranks):
        y, pullback = ops.all_reduce_sum(vs[ranks.rank], ranks=ranks)
        return y, pullback(us[ranks.rank])

    found = simulate(3, run)
    assert inner(us, [y for y, _ in found]) == pytest.approx(inner([dx for _, dx in found], vs), rel=1e-13)
    for y, _ in found:
        np.testing.assert_array_equal(y, found[0][0])
        np.testing.assert_allclose(y, vs.sum(axis=0), rtol=1e-15)


@pytest.mark.parametrize("shares", [(3, 1), (2, 0, 5)], ids=str)
def test_the_pullback_over_ranks_is_the_adjoint(shares):
    """Σ_r ⟨u_r, (Jv)_r⟩ = Σ_r ⟨(J′u)_r, v_r⟩, each rank with its own u and v."""
    xs, gamma, beta, us = drawn(shares, channels=3)
    vs = drawn(shares, channels=3, seed=1)[0]
    static = {"eps": 1e-5}
    found = over_ranks(ops.sync_batch_norm_train, xs, us, gamma, beta, **static)

    def slope(h):
        values = [
            over_ranks(ops.sync_batch_norm_train, [x + s * h * v for x, v in zip(xs, vs)], us, gamma, beta, **static)
            for s in (1, -1)
        ]
        return [(a[0] - b[0]) / (2 * h) for a, b in zip(*values)]

    jv = [(4 * a - b) / 3 for a, b in zip(slope(STEP), slope(2 * STEP))]
    wanted = inner([f[1][0] for f in found], vs)
    assert abs(inner(us, jv) - wanted) <= 1e-9 * inner(us, us) ** 0.5 * inner(jv, jv) ** 0.5


def test_one_value_on_all_ranks_together_has_no_variance():
    with pytest.raises(ValueError, match="one value per channel"):
        over_ranks(ops.sync_batch_norm_train, [np.ones((n, 2, 1, 1)) for n in (1, 0)], [None, None], eps=1e-5)


def network(seed=0):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8)
    )
    for parameter in model.parameters():
        parameter.value = rng.standard_normal(parameter.value.shape).astype(np.float32)
    return model


def trained(ranks, x, dy, model):
    nn.synchronize_batch_norm(model.train(), ranks)
    y, pullback = model.vjp(x)
    return y, pullback(dy), [parameter.grad for parameter in model.parameters()], model.state_dict()


def test_a_synchronized_network_moves_the_running_statistics_of_the_whole_batch():
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal((5, 3, 4, 4), np.float32), rng.standard_normal((5, 8, 4, 4), np.float32)
    y, dx, grads, state = trained(None, x, dy, network())
    xs, dys = np.split(x, [2]), np.split(dy, [2])
    models = [network(), network()]
    found = simulate(2, lambda ranks: trained(ranks, xs[ranks.rank], dys[ranks.rank], models[ranks.rank]))
    assert_close(np.concatenate([f[0] for f in found]), y, 1e-5)
    assert_close(np.concatenate([f[1] for f in found]), dx, 1e-5)
    for k, grad in enumerate(grads):
        assert_close(found[0][2][k] + found[1][2][k], grad, 1e-5)
    for key, value in state.items():
        np.testing.assert_array_equal(found[0][3][key], found[1][3][key])
        np.testing.assert_allclose(found[0][3][key], value, rtol=1e-4, atol=1e-6)


def test_only_training_asks_the_other_ranks():
    """Alone in a room of two: in eval mode, and after the synchronization is undone, nobody is waited for."""

    def run(ranks):
        if ranks.rank:
            return None
        model = nn.synchronize_batch_norm(network(), ranks)
        y = model(np.ones((2, 3, 4, 4), np.float32))
        nn.synchronize_batch_norm(model.train(), Alone())(np.ones((2, 3, 4, 4), np.float32))
        assert "ranks" not in "".join(model.state_dict())
        return y

    assert simulate(2, run)[0].shape == (2, 8, 4, 4)
