"""Law 5 for the activations and the residual sum."""

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


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("slope", [0.0, 0.01, 1.5])
def test_leaky_relu(order, slope):
    x = random(3, C, 5, 7)
    x[0, 0, 0, :3] = np.nan, -np.inf, 0
    with np.errstate(invalid="ignore"), use("numba"):  # 0 · ∞
        wanted, wanted_pullback = ops.leaky_relu.reference(x, negative_slope=slope)
        y, pullback = ops.leaky_relu(in_order(x, order), negative_slope=slope)
    np.testing.assert_array_equal(y, wanted)
    dy = random(*x.shape, seed=1)
    for cotangent in ORDERS:
        np.testing.assert_array_equal(pullback(in_order(dy, cotangent)), wanted_pullback(dy))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_smooth_activations(name, order):
    x = random(3, C, 60, 70) * 4  # more than one work item
    x[0, 0, 0, :5] = np.nan, 3e38, -3e38, 90, -90
    wanted, wanted_pullback = getattr(ops, name).reference(x.astype(np.float64))
    with use("numba"):
        y, pullback = getattr(ops, name)(in_order(x, order))
    np.testing.assert_allclose(y, wanted, rtol=5e-7, atol=5e-6)
    dy = random(*x.shape, seed=1)
    for cotangent in ORDERS:
        found = pullback(in_order(dy, cotangent))
        np.testing.assert_allclose(found, wanted_pullback(dy.astype(np.float64)), rtol=5e-7, atol=5e-6)
        assert found.dtype == np.float32


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
