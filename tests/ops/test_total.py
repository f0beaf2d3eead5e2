"""Sums over pixels lose no digits to the order of memory."""

import numpy as np
import pytest

from npresnet import ops
from npresnet.ops.total import total


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)])
def test_a_sum_is_rounded_once(order):
    """Of 0.1 added one by one in float32, the fourth digit is wrong after 10,000."""
    x = np.full([(64, 3, 40, 40)[axis] for axis in order], 0.1, np.float32).transpose(np.argsort(order))
    due = np.float32(float(np.float32(0.1)) * 64 * 40 * 40)
    assert total(x, (0, 2, 3)).tolist() == [due] * 3 and total(x, (0, 2, 3)).dtype == np.float32
    db = ops.conv2d(x, np.ones((3, 3, 1, 1), np.float32), np.zeros(3, np.float32))[1](x)[2]
    ds = ops.scale_channels(x, np.ones((64, 3), np.float32))[1](np.ones_like(x))[1]
    assert db.tolist() == [due] * 3 and (ds == np.float32(float(np.float32(0.1)) * 1600)).all()


def test_a_sum_of_float64_is_not_copied():
    x = np.ones((2, 3, 4, 5))
    assert total(x, (0, 2, 3)).dtype == np.float64 and total(x, ()).shape == x.shape
