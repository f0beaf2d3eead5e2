"""Law 5 for batch norm in training, alone, with ReLU and with a residual sum."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.codegen.vector import LANES
from npresnet.kernels.cpu.norm import (
    batch_norm_add_relu_numba,
    batch_norm_eval_numba,
    batch_norm_relu_numba,
    batch_norm_train_numba,
    supports,
    supports_stored,
)

from ..support import laws
from .images import ORDERS, C, close, double, in_order, random

NORMS = [
    ("batch_norm_train", batch_norm_train_numba),
    ("batch_norm_relu", batch_norm_relu_numba),
    ("batch_norm_add_relu", batch_norm_add_relu_numba),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name, kernel", NORMS)
@pytest.mark.parametrize("mean, c", [(0, C), (300, C), (0, 3), (0, 608)])  # 608 floats: a pixel longer than a line
def test_batch_norm(order, name, kernel, mean, c):
    x, gamma, beta = random(4, c, 9, 11) * 2 + np.float32(mean), random(c), random(c, seed=1)
    others = [random(*x.shape, seed=2)] if "add" in name else []
    wanted, wanted_pullback, wanted_extras = getattr(ops, name).reference(*double(x, gamma, beta, *others), eps=1e-5)
    op = kernel if supports(x, gamma, beta, eps=1e-5) else getattr(ops, name)
    y, pullback, extras = op(in_order(x, order), gamma, beta, *[in_order(s, order) for s in others], eps=1e-5)
    bound = 1e-6 * (1 + mean / 20)  # x itself is known to mean · 6e-8
    close(y, wanted, bound)
    for got, expected in zip(extras, wanted_extras, strict=True):
        close(got, expected, 1e-6)
    dy = random(*x.shape, seed=3)
    if name != "batch_norm_train":  # off the kink, whose side rounding decides
        dy[abs(wanted) <= bound * abs(wanted).max()] = 0
    for got, expected in zip(pullback(in_order(dy, order)), wanted_pullback(dy.astype(np.float64)), strict=True):
        close(got, expected, bound)
    assert (op is kernel) == (c % LANES == 0)
    if op is kernel:
        assert {name for name, _ in laws.held_arrays(pullback)} == laws.declared(kernel)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mean, c", [(0, C), (300, C), (0, 608)])
@pytest.mark.parametrize("skip", [(), ("x",), ("gamma", "beta"), ("gamma",), ("x", "gamma", "beta")], ids=str)
def test_batch_norm_by_stored_statistics(order, mean, c, skip):
    x, gamma, beta = random(35, c, 7, 3) * 2 + np.float32(mean), random(c), random(c, seed=1)
    mean, var, dy = (
        random(c, seed=2) + np.float32(mean),
        abs(random(c, seed=3)) + np.float32(0.1),
        random(*x.shape, seed=4),
    )
    given = gamma, beta, mean, var
    wanted, wanted_pullback = ops.batch_norm_eval.reference(*double(x, *given), eps=1e-5)
    y, pullback = batch_norm_eval_numba(in_order(x, order), *given, eps=1e-5)
    close(y, wanted, 1e-6 * (1 + abs(mean).max()))
    for got, expected in zip(pullback(in_order(dy, order), skip), wanted_pullback(dy.astype(float), skip), strict=True):
        if expected is None:
            assert got is None
        else:
            close(got, expected, 1e-6 * (1 + abs(mean).max()))
    assert {name for name, _ in laws.held_arrays(pullback)} == laws.declared(batch_norm_eval_numba)


def test_one_image_by_stored_statistics_needs_no_kernel():
    per_channel = np.ones(C, np.float32)
    for n in (1, 2):
        assert supports_stored(random(n, C, 3, 4), *[per_channel] * 4, eps=1e-5) == (n > 1)
    assert not supports_stored(random(2, C, 3, 4), *[per_channel] * 3, np.ones(C), eps=1e-5)


@pytest.mark.parametrize("name, kernel", NORMS[1:])
def test_a_fused_norm_gives_the_bits_of_its_parts(name, kernel):
    x, gamma, beta, s = random(4, C, 6, 7), random(C), random(C, seed=1), random(4, C, 6, 7, seed=2)
    others = [s] if "add" in name else []
    z = batch_norm_train_numba(x, gamma, beta, eps=1e-5)[0]
    np.testing.assert_array_equal(kernel(x, gamma, beta, *others, eps=1e-5)[0], np.maximum(sum(others, z), 0))
