"""Law 5 for conv2d, alone and behind a batch norm: values, gradients, strides, what they save."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.codegen.vector import LANES
from npresnet.kernels.cpu.conv.op import conv2d_numba, supports
from npresnet.kernels.cpu.norm import batch_norm_relu_conv2d_numba, batch_norm_relu_numba

from ...support import laws
from ..images import ORDERS, C, F, close, double, in_order, random

DIRECT, WINOGRAD = 3e-6, 2e-5  # the largest error, as a part of the largest value

CONVOLUTIONS = [  # channels, filters, kernel, stride, padding, height, width, biased, bound
    (C, F, 1, 1, 0, 7, 9, True, DIRECT),
    (C, F, 1, 2, 0, 7, 8, False, DIRECT),
    (C, F, 1, 1, 1, 5, 6, False, DIRECT),
    (C, F, 3, 1, 1, 9, 13, True, WINOGRAD),
    (C, F, 3, 1, 0, 9, 6, False, WINOGRAD),
    (C, F, 3, 1, ((0, 2), (3, 1)), 7, 9, False, WINOGRAD),
    (C, F, 3, 2, 1, 10, 9, False, WINOGRAD),
    (C, C, 3, 2, 1, 9, 12, True, WINOGRAD),
    (3, F, 7, 2, 3, 21, 24, False, DIRECT),
    (3, LANES, 3, 1, 1, 9, 9, True, DIRECT),
    (C, C, (3, 2), (2, 3), 1, 9, 8, True, DIRECT),
    (C, C, 5, 2, 0, 12, 11, False, DIRECT),
    (C, C, 2, 1, 3, 4, 5, False, DIRECT),
    (LANES, C, 3, 1, 1, 10, 16, True, DIRECT),
    (C, LANES, 3, 1, 1, 3, 30, False, DIRECT),
    (LANES, LANES, 3, 1, ((0, 2), (3, 1)), 9, 30, True, DIRECT),
    (C, 4 * LANES, 2, 3, 1, 8, 9, False, DIRECT),
]


GROUPS = [  # channels, filters, groups, kernel, stride, padding, height, width
    (2 * LANES, 2 * LANES, LANES // 2, 3, 1, 1, 9, 17),
    (2 * LANES, 2 * LANES, LANES // 2, 3, 2, 1, 10, 9),
    (2 * LANES, 2 * LANES, LANES // 4, 3, 1, ((0, 2), (1, 0)), 8, 15),
    (2 * LANES, 2 * LANES, LANES // 4, 3, 2, 1, 7, 31),
    (3 * LANES, 3 * LANES, 3, 3, 1, 1, 5, 16),
    (3 * LANES, 3 * LANES, 3, 3, 2, 1, 5, 8),
    (4 * LANES, 4 * LANES, 2, 3, 1, 1, 6, 7),
    (4 * LANES, 4 * LANES, 2, 3, 2, 1, 6, 7),
    (2 * LANES, 4 * LANES, 2, 3, 2, 1, 7, 6),
    (4 * LANES, 2 * LANES, 2, (2, 3), (1, 2), 1, 7, 6),
    (4 * LANES, 4 * LANES, LANES, 1, 1, 0, 5, 6),
    (2 * LANES, 2 * LANES, 2 * LANES, 3, 1, 1, 9, 8),
    (2 * LANES, 6 * LANES, 2 * LANES, 3, 2, 1, 9, 8),
    (LANES, LANES, LANES // 2, 3, 1, 1, 6, 16),
]


@pytest.mark.parametrize("c, f, groups, kernel, stride, padding, h, w", GROUPS)
@pytest.mark.parametrize("order", ORDERS)
def test_conv2d_in_groups(c, f, groups, kernel, stride, padding, h, w, order):
    x, filters, b = random(3, c, h, w), random(f, c // groups, *ops.window.pair(kernel), seed=1), random(f)
    static = {"stride": stride, "padding": padding, "groups": groups}
    assert supports(x, filters, b, **static)
    wanted, wanted_pullback = ops.conv2d.reference(*double(x, filters, b), **static)
    y, pullback = conv2d_numba(in_order(x, order), filters, b, **static)
    close(y, wanted, DIRECT)
    dy = random(*wanted.shape, seed=2)
    for got, expected in zip(pullback(in_order(dy, order)), wanted_pullback(dy.astype(np.float64)), strict=True):
        close(got, expected, DIRECT)


@pytest.mark.parametrize(
    "c, f, groups", [(LANES, LANES // 2, 2), (LANES + 4, LANES, 4), (6, 6, 6), (2 * LANES, 4 * LANES, LANES)]
)
def test_groups_that_fill_no_vectors_are_left_to_the_reference(c, f, groups):
    assert not supports(random(3, c, 5, 5), random(f, c // groups, 3, 3), groups=groups)


@pytest.mark.parametrize("c, f, kernel, stride, padding, h, w, biased, bound", CONVOLUTIONS)
@pytest.mark.parametrize("order", ORDERS)
def test_conv2d(c, f, kernel, stride, padding, h, w, biased, bound, order):
    x, filters = random(3, c, h, w), random(f, c, *ops.window.pair(kernel), seed=1)
    b = random(f) if biased else None
    assert supports(x, filters, b, stride=stride, padding=padding)
    xd, wd, bd = double(x, filters, b)
    wanted, wanted_pullback = ops.conv2d.reference(xd, wd, bd, stride=stride, padding=padding)
    y, pullback = conv2d_numba(in_order(x, order), filters, b, stride=stride, padding=padding)
    close(y, wanted, bound)
    dy = random(*wanted.shape, seed=2)
    for got, expected in zip(pullback(in_order(dy, order)), wanted_pullback(dy.astype(np.float64)), strict=True):
        if expected is not None:
            close(got, expected, bound)


def test_conv2d_keeps_channels_last_strides_and_saves_its_arguments():
    x, w = random(2, C, 6, 6), random(F, C, 3, 3)
    y, pullback = conv2d_numba(x, w, padding=1)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert {name for name, _ in laws.held_arrays(pullback)} == {"x", "w"} == laws.declared(conv2d_numba)
    assert pullback(y, skip={"x", "w", "b"}) == (None, None, None)


L = LANES
PROLOGUES = [
    (L, L, 3, 1, 1, 9, 32),
    (L, 2 * L, 3, 1, ((2, 0), (0, 1)), 20, 17),
    (2 * L, L, 3, 1, 0, 37, 34),
    (2 * L, 2 * L, 3, 1, 1, 16, 16),
    (C, C, 3, 1, 1, 9, 5),
    (C, F, 3, 1, 1, 9, 13),
    (4 * L, F, 3, 1, 1, 8, 8),
    (C, F, 3, 2, 1, 10, 9),
    (C, F, 1, 1, 0, 7, 9),
    (C, F, 1, 2, 0, 7, 8),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("c, f, kernel, stride, padding, h, w", PROLOGUES)
def test_a_convolution_behind_a_fused_norm(c, f, kernel, stride, padding, h, w, order):
    x, gamma, beta, filters = random(3, c, h, w), random(c), random(c, seed=1), random(f, c, kernel, kernel, seed=2)
    b, static = random(f) if kernel == 1 else None, {"stride": stride, "padding": padding}
    z, norm_pullback, moments = batch_norm_relu_numba(x, gamma, beta, eps=1e-5)
    wanted, conv_pullback = conv2d_numba(z, filters, b, **static)
    y, pullback, extras = batch_norm_relu_conv2d_numba(in_order(x, order), gamma, beta, filters, b, eps=1e-5, **static)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(extras, moments)
    dy = random(*y.shape, seed=3)
    dz, dw, db = conv_pullback(dy)
    assert {name for name, _ in laws.held_arrays(pullback)} == laws.declared(batch_norm_relu_conv2d_numba)
    for got, expected in zip(pullback(in_order(dy, order)), (*norm_pullback(dz), dw, db), strict=True):
        if expected is not None:
            close(got, expected, 1e-6)
    _, pullback, _ = batch_norm_relu_conv2d_numba(x, gamma, beta, filters, b, eps=1e-5, **static)
    assert pullback(dy, skip={"x", "gamma", "beta", "w", "b"}) == (None,) * 5
