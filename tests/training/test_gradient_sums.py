"""When the sums of gradients begin, and what they hold."""

import numpy as np
import pytest

from npresnet import use
from npresnet.distributed import Alone, simulate
from npresnet.nn import BatchNorm2d, Linear, ReLU, Sequential
from npresnet.nn.module import Parameter, gradients_reported_to
from npresnet.training.gradient_sums import GradientSums
from npresnet.training.rank_statistics import RankStatistics


class Noted(Alone):
    """Alone, with the sizes of the sums that were started, in their order."""

    def __init__(self):
        self.sizes = []

    def start_all_reduce(self, x):
        self.sizes.append(x.size)
        return super().start_all_reduce(x)


def network():
    """Three layers of 12, 20 and 15 numbers."""
    model = Sequential(Linear(3, 4, bias=False), ReLU(), Linear(4, 5, bias=False), Linear(5, 3, bias=False))
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.value = rng.standard_normal(parameter.value.shape)
    return model.train()


def test_a_buckets_sum_begins_as_soon_as_its_gradients_are_final():
    model, ranks = network(), Noted()
    sums = GradientSums(model, ranks, size=8 * 16)  # 15 + 20 numbers, then 12
    sums.begin()
    started = []

    with use("numpy"):
        y, pullback = model.vjp(np.ones((2, 3)))
        with gradients_reported_to(lambda parameter: (sums.came(parameter), started.append(list(ranks.sizes)))):
            pullback(np.ones_like(y))
    assert started == [[], [35], [35, 12]]
    wanted = [parameter.grad.copy() for parameter in model.parameters()]
    sums.finish()
    assert ranks.sizes == [35, 12], "nothing is summed twice"
    for parameter, grad in zip(model.parameters(), wanted):
        np.testing.assert_array_equal(parameter.grad, grad)
    assert sums.bytes == 8 * 47


def test_buckets_begin_in_one_order_on_every_rank():
    """Also where a later bucket is final before an earlier one."""
    model, ranks = network(), Noted()
    sums = GradientSums(model, ranks, size=1)
    first, middle, last = model.parameters()
    sums.begin()
    for parameter in (first, last, middle):
        parameter.grad = np.ones_like(parameter.value)
        sums.came(parameter)
    assert ranks.sizes == [15, 20, 12]


def test_parts_of_a_batch_are_summed_at_the_end_and_frozen_parameters_never():
    model, ranks = network(), Noted()
    model.parameters()[0].trainable = False
    sums = GradientSums(model, ranks)
    sums.begin()
    for _ in range(2):
        with use("numpy"):
            y, pullback = model.vjp(np.ones((2, 3)))
            pullback(np.ones_like(y))
    assert ranks.sizes == []
    sums.finish()
    assert ranks.sizes == [35] and model.parameters()[0].grad is None


def test_a_pullback_that_begins_again_is_summed_once_more():
    model, ranks = network(), Noted()
    sums = GradientSums(model, ranks, size=1)
    sums.begin()
    for scale in (1.0, 2.0):
        model.zero_grad()
        with use("numpy"), sums.during_pullback():
            y, pullback = model.vjp(np.ones((2, 3)))
            pullback(np.full_like(y, scale))
    wanted = [parameter.grad.copy() for parameter in model.parameters()]
    sums.finish()
    for parameter, grad in zip(model.parameters(), wanted):
        np.testing.assert_array_equal(parameter.grad, grad)


def test_the_sum_is_that_of_all_ranks_and_zero_where_one_has_no_gradient():
    def run(ranks):
        model = network()
        sums = GradientSums(model, ranks)
        sums.begin()
        for parameter in model.parameters():
            parameter.grad = np.full(parameter.value.shape, 5.0) if ranks.rank else None
        sums.finish()
        return [parameter.grad for parameter in model.parameters()]

    for grads in simulate(3, run):
        for grad in grads:
            np.testing.assert_array_equal(grad, np.full(grad.shape, 10.0))


def test_gradients_sent_in_16_bits_are_rounded_once_and_come_back_in_their_dtype():
    values = np.float32([1e-9, -3.14159, 0.0, 60.0])

    def run(ranks):
        model = Sequential(Linear(4, 1, bias=False))
        sums = GradientSums(model, ranks, half=True)
        sums.begin()
        (parameter,) = model.parameters()
        parameter.grad = values[None] / 2
        sums.finish()
        return sums.buckets[0].flat.dtype, parameter.grad

    for sent, grad in simulate(2, run):
        assert sent == np.float16 and grad.dtype == np.float32
        np.testing.assert_allclose(grad[0], values, rtol=2**-10, atol=6e-11)


def test_a_parameter_tells_of_every_gradient():
    parameter, heard = Parameter(np.zeros(2)), []
    parameter.accumulate(np.ones(2))
    with gradients_reported_to(heard.append):
        parameter.accumulate(np.ones(2))
        parameter.add(np.ones(2))
    assert heard == [parameter] and parameter.grad.tolist() == [3, 3]


def test_a_momentum_that_changes_needs_synchronized_norms():
    with pytest.raises(ValueError, match="--sync-batch-norm"):
        RankStatistics(Sequential(BatchNorm2d(4, momentum=None)), Alone())
