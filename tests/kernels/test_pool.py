"""Law 5 for max_pool2d."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.pool import max_pool2d_numba, supports

from .images import ORDERS, C, in_order, random

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
