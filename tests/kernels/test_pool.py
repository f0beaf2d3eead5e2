"""Law 5 for max_pool2d and global_avg_pool2d."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.pool import global_avg_pool2d_numba, max_pool2d_numba, supports, supports_mean

from .images import ORDERS, C, close, double, in_order, random

POOLS = [(3, 2, 1), (2, 2, 0), (3, 1, 1), ((3, 2), (2, 1), (1, 0)), (3, 3, ((0, 1), (1, 0)))]


@pytest.mark.parametrize("kernel, stride, padding", POOLS)
@pytest.mark.parametrize("order", ORDERS)
def test_max_pool(kernel, stride, padding, order):
    x = np.round(random(3, C, 9, 10) * 2)  # many ties: the first wins
    x[0, 1, 2, 2] = np.nan
    wanted, wanted_pullback = ops.max_pool2d.reference(x, kernel, stride=stride, padding=padding)
    assert supports(x, kernel, stride=stride, padding=padding)
    y, pullback = max_pool2d_numba(in_order(x, order), kernel, stride=stride, padding=padding)
    np.testing.assert_array_equal(y, wanted)
    dy = random(*y.shape, seed=1)
    np.testing.assert_allclose(pullback(in_order(dy, order)), wanted_pullback(dy), atol=1e-5)


@pytest.mark.parametrize("shape", [(3, C, 7, 7), (2, 5, 1, 3)])
@pytest.mark.parametrize("order", ORDERS)
def test_global_mean(shape, order):
    x, dy = random(*shape), random(*shape[:2], seed=1)
    assert supports_mean(x)
    wanted, wanted_pullback = ops.global_avg_pool2d.reference(*double(x))
    y, pullback = global_avg_pool2d_numba(in_order(x, order))
    close(y, wanted, 1e-6)
    close(pullback(dy), wanted_pullback(dy.astype(np.float64)), 1e-6)
