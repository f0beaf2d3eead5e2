"""Images in several orders in memory, and comparisons, for the tests of the kernels."""

import numpy as np
import pytest

pytest.importorskip("numba")

from npresnet.kernels.cpu.codegen.vector import LANES

C, F = 2 * LANES, 5 * LANES


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def in_order(x, order):
    """The same images with another order in memory, read-only."""
    if order == "channels last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif order == "a slice":
        wide = np.zeros((*x.shape[:3], 2 * x.shape[3]), x.dtype)
        wide[..., ::2] = x
        x = wide[..., ::2]
    else:
        x = x.copy()
    x.flags.writeable = False
    return x


def close(got, wanted, bound):
    assert got.dtype == np.float32 and got.shape == wanted.shape
    assert abs(got - wanted).max() <= bound * abs(wanted).max()


def double(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


ORDERS = ["channels first", "channels last", "a slice"]
