"""The laws are laws: each kind of error, planted in an op, breaks the one that guards against it."""

import numpy as np
import pytest

from npresnet import ops

from ..support import laws
from ..support.cases import CASES

RELU = next(case for case in CASES if case.op == "relu")
CONV = next(case for case in CASES if str(case) == "conv2d-bias")
NORM = next(case for case in CASES if case.op == "batch_norm_train")
POOL = next(case for case in CASES if str(case) == "max_pool2d-3x3_overlapping_and_padded")
LOSS = next(case for case in CASES if case.op == "softmax_cross_entropy")


def plant(monkeypatch, case, change_value=None, change_pullback=None):
    op = getattr(laws.OPS[case.op], "reference", laws.OPS[case.op])

    def wrong(*args, **kwargs):
        y, pullback, *extras = op(*args, **kwargs)
        y = change_value(y) if change_value else y
        arrays = (*args, *(a for a in kwargs.values() if isinstance(a, np.ndarray)))
        return y, change_pullback(pullback, *arrays) if change_pullback else pullback, *extras

    wrong.__doc__ = op.__doc__
    monkeypatch.setitem(laws.OPS, case.op, wrong)
    return wrong


@pytest.mark.parametrize("case", [RELU, CONV, NORM, POOL, LOSS], ids=str)
def test_a_wrong_value(monkeypatch, case):
    plant(monkeypatch, case, change_value=lambda y: y * (1 + 1e-9))
    with pytest.raises(AssertionError, match="value"):
        laws.value_is_the_sum(case)


@pytest.mark.parametrize(
    "case, position, name",
    [
        (RELU, 0, "dx"),
        (CONV, 1, "dw"),
        (CONV, 2, "db"),
        (NORM, 0, "dx"),
        (NORM, 1, "dgamma"),
        (POOL, 0, "dx"),
        (LOSS, 0, "dlogits"),
    ],
    ids=str,
)
def test_a_wrong_gradient_in_one_number(monkeypatch, case, position, name):
    def nudged(pullback, *args):
        def wrong(dy, **kwargs):
            found = pullback(dy, **kwargs)
            grads = [np.array(d) for d in (found if isinstance(found, tuple) else (found,))]
            grads[position].flat[0] += 1e-5
            return tuple(grads)

        return wrong

    plant(monkeypatch, case, change_pullback=nudged)
    with pytest.raises(AssertionError, match=name):
        laws.pullback_is_the_adjoint(case)


def test_batch_norm_whose_pullback_forgets_the_statistics(monkeypatch):
    def forgetful(pullback, x, gamma, beta):
        return lambda dy: ((gamma / x.std(axis=(0, 2, 3)))[:, None, None] * dy, *pullback(dy)[1:])

    plant(monkeypatch, NORM, change_pullback=forgetful)
    with pytest.raises(AssertionError, match="dx"):
        laws.pullback_is_the_adjoint(NORM)


def test_a_pullback_that_writes_to_its_cotangent(monkeypatch):
    def careless(pullback, *args):
        def wrong(dy, **kwargs):
            dy *= 1
            return pullback(dy, **kwargs)

        return wrong

    plant(monkeypatch, RELU, change_pullback=careless)
    with pytest.raises(ValueError, match="read-only"):
        laws.purity(RELU)


def test_a_value_of_another_dtype(monkeypatch):
    plant(monkeypatch, RELU, change_value=lambda y: y.astype(np.float64))
    with pytest.raises(AssertionError, match="float64, not float32"):
        laws.shape_and_dtype(RELU, np.float32)


def test_a_pullback_that_holds_more_than_it_says(monkeypatch):
    def hoarder(pullback, x):
        copy = x.copy()
        return lambda dy: pullback(dy + 0 * copy)

    wrong = plant(monkeypatch, RELU, change_pullback=hoarder)
    with pytest.raises(AssertionError):
        laws.saves_what_it_says(RELU, wrong)


def test_a_kernel_that_is_almost_its_reference():
    laws.kernel_equals_reference(ops.relu.reference, RELU, np.float32)

    def wrong(x):
        y, pullback = ops.relu.reference(x)
        return y, lambda dy: pullback(dy) * np.float32(1 + 1e-4)

    with pytest.raises(AssertionError, match="dx"):
        laws.kernel_equals_reference(wrong, RELU, np.float32)
