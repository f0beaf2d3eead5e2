"""Law 5 for shortcut A: subsampling, and channels of zeros."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.pad import subsample_numba, supports_channels, supports_stride, zero_pad_channels_numba

from .images import ORDERS, in_order, random

SIZES = [(5, 8), (6, 7), (1, 1)]


@pytest.mark.parametrize("stride", [1, 2, (2, 3)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", ORDERS)
def test_subsample(stride, size, order):
    x = random(3, 5, *size)
    assert supports_stride(x, stride)
    wanted, wanted_pullback = ops.subsample.reference(x, stride)
    y, pullback = subsample_numba(in_order(x, order), stride)
    np.testing.assert_array_equal(y, wanted)
    dy = random(*y.shape, seed=1)
    np.testing.assert_array_equal(pullback(in_order(dy, order)), wanted_pullback(dy))


@pytest.mark.parametrize("before, after", [(0, 0), (3, 0), (0, 4), (8, 8)])
@pytest.mark.parametrize("order", ORDERS)
def test_zero_pad_channels(before, after, order):
    x = random(3, 5, 4, 6)
    assert supports_channels(x, before, after)
    wanted, wanted_pullback = ops.zero_pad_channels.reference(x, before, after)
    y, pullback = zero_pad_channels_numba(in_order(x, order), before, after)
    np.testing.assert_array_equal(y, wanted)
    dy = random(*y.shape, seed=1)
    np.testing.assert_array_equal(pullback(in_order(dy, order)), wanted_pullback(dy))
