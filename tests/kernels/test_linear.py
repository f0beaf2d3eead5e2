"""Law 5 for a classifier."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet import ops
from npresnet.kernels.cpu.linear import linear_numba, supports

from ..support import laws
from .images import close, double, random


@pytest.mark.parametrize("n, d, m", [(2, 64, 10), (17, 33, 7), (8, 512, 100), (9, 1, 1)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear(n, d, m, biased):
    x, w, b = random(n, d), random(m, d, seed=1), random(m, seed=2) if biased else None
    assert supports(x, w, b)
    wanted, wanted_pullback = ops.linear.reference(*double(x, w, b))
    y, pullback = linear_numba(x, w, b)
    close(y, wanted, 1e-6)
    dy = random(n, m, seed=3)
    for got, due in zip(pullback(dy), wanted_pullback(dy.astype(np.float64)), strict=True):
        assert (got is None) == (due is None)
        if due is not None:
            close(got, due, 1e-6)
    assert pullback(dy, skip={"x", "w", "b"}) == (None, None, None)
    assert {name for name, _ in laws.held_arrays(pullback)} == {"x", "w"} == laws.declared(linear_numba)
