"""Law 5 for ReLU and the residual sum."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops, use
from npresnet.kernels.cpu.activation import supports_add, supports_relu

from .images import ORDERS, C, in_order, random


@pytest.mark.parametrize("order", ORDERS)
def test_relu(order):
    x = random(3, C, 5, 7)
    x[0, 0, 0, :3] = np.nan, -np.inf, 0
    wanted, wanted_pullback = ops.relu.reference(x)
    assert supports_relu(in_order(x, order)) == (order != "a slice")
    with use("numba"):
        y, pullback = ops.relu(in_order(x, order))
    np.testing.assert_array_equal(y, wanted)
    dy = random(*x.shape, seed=1)
    for cotangent in ORDERS:
        np.testing.assert_array_equal(pullback(in_order(dy, cotangent)), wanted_pullback(dy))


@pytest.mark.parametrize("first", ORDERS)
@pytest.mark.parametrize("second", ORDERS)
def test_add(first, second):
    a, b = random(3, C, 5, 7), random(3, C, 5, 7, seed=1)
    a, b = in_order(a, first), in_order(b, second)
    assert supports_add(a, b) == (first == second != "a slice")
    with use("numba"):
        y, pullback = ops.add(a, b)
    np.testing.assert_array_equal(y, a + b)
    assert all(d is a for d in pullback(a))
