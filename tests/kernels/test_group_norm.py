"""Law 5 for group norm: blocks of channels, shapes that have no kernel, and how blocks are chosen."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.codegen.vector import LANES
from npresnet.kernels.cpu.group_norm import block_of, group_norm_numba, supports

from ..support import laws
from .images import ORDERS, C, close, double, in_order, random


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("c, groups", [(C, C), (C, 2), (C, 1), (4 * LANES, LANES), (3 * LANES, 2), (6, 3)])
@pytest.mark.parametrize("mean", [0, 300])
def test_group_norm(order, c, groups, mean):
    x, gamma, beta = random(3, c, 9, 11) * 2 + np.float32(mean), random(c), random(c, seed=1)
    static = {"groups": groups, "eps": 1e-5}
    wanted, wanted_pullback = ops.group_norm.reference(*double(x, gamma, beta), **static)
    op = group_norm_numba if supports(x, gamma, beta, **static) else ops.group_norm
    y, pullback = op(in_order(x, order), gamma, beta, **static)
    bound = 1e-6 * (1 + mean / 20)  # x itself is known to mean · 6e-8
    close(y, wanted, bound)
    dy = random(*x.shape, seed=3)
    for got, expected in zip(pullback(in_order(dy, order)), wanted_pullback(dy.astype(np.float64)), strict=True):
        close(got, expected, bound)
    assert (op is group_norm_numba) == (c % LANES == 0)
    if op is group_norm_numba:
        assert {name for name, _ in laws.held_arrays(pullback)} == laws.declared(op)
        whole = pullback(dy)
        for i, name in enumerate(("x", "gamma", "beta")):
            skipped = pullback(dy, skip={name})
            assert skipped[i] is None
            np.testing.assert_array_equal(skipped[i - 1], whole[i - 1])


def test_a_channel_of_one_number_and_an_eps_of_zero():
    x = np.ones((2, LANES, 3, 3), np.float32)
    gamma, beta = random(LANES), random(LANES, seed=1)
    y, pullback = group_norm_numba(x, gamma, beta, groups=1, eps=0.1)
    np.testing.assert_allclose(y, np.broadcast_to(beta[:, None, None], x.shape), rtol=0, atol=1e-6)
    assert np.isfinite(pullback(random(*x.shape))[0]).all()
    y, _ = group_norm_numba(x, gamma, beta, groups=1, eps=0.0)  # 0/0, as in the reference, and no exception
    assert np.isnan(y).all()


def test_blocks_are_whole_groups_and_vectors():
    for channels in (LANES, 3 * LANES, 8 * LANES):
        for size in (s for s in range(1, channels + 1) if channels % s == 0):
            for images in (1, 2, 100):
                block = block_of(channels, size, images)
                assert channels % block == block % size == block % LANES == 0
    assert block_of(8 * LANES, 2, 100) == 8 * LANES and block_of(8 * LANES, 2, 2) == LANES
