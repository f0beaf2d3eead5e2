"""Optimisers, schedules, clipping and averages against PyTorch's."""

import math

import numpy as np
import pytest

from npresnet import training
from npresnet.nn import BatchNorm2d, Linear, Module
from npresnet.training import EMA, LAMB, SGD, AdamW, clip_gradients, gradient_norm
from npresnet.training.schedules import SCHEDULES, cosine, one_cycle, quarters, steps, thirds, warm_up

from ..support import oracles


class Toy(Module):
    """Parameters of both kinds."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.bn, self.fc = BatchNorm2d(5), Linear(4, 3)
        for parameter in self.parameters():
            parameter.value = rng.standard_normal(parameter.value.shape)


def gradients(step, model):
    rng = np.random.default_rng([7, step])
    return {name: rng.standard_normal(parameter.value.shape) for name, parameter in model.named_parameters()}


def follow(optimizer, model, count=50):
    for step in range(count):
        for name, grad in gradients(step, model).items():
            dict(model.named_parameters())[name].grad = grad
        optimizer.step(0.1 / (1 + step))


def pytorch(model, make, decay, decay_all, count=50):
    torch = oracles.torch()
    tensors = {
        name: torch.nn.Parameter(torch.from_numpy(parameter.value.copy()))
        for name, parameter in model.named_parameters()
    }
    groups = [{"params": [p], "weight_decay": decay if decay_all or p.ndim > 1 else 0.0} for p in tensors.values()]
    optimizer = make(torch.optim, groups)
    for step in range(count):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        for name, grad in gradients(step, model).items():
            tensors[name].grad = torch.from_numpy(grad)
        optimizer.step()
    return {name: p.detach().numpy() for name, p in tensors.items()}


CASES = {
    "plain": (lambda m, **o: SGD(m, 0.0, **o), lambda t, g: t.SGD(g, lr=1)),
    "momentum": (lambda m, **o: SGD(m, 0.9, **o), lambda t, g: t.SGD(g, lr=1, momentum=0.9)),
    "nesterov": (lambda m, **o: SGD(m, 0.8, True, **o), lambda t, g: t.SGD(g, lr=1, momentum=0.8, nesterov=True)),
    "adamw": (lambda m, **o: AdamW(m, **o), lambda t, g: t.AdamW(g, lr=1)),
    "adamw-betas": (
        lambda m, **o: AdamW(m, (0.8, 0.9), 1e-3, **o),
        lambda t, g: t.AdamW(g, lr=1, betas=(0.8, 0.9), eps=1e-3),
    ),
}


@pytest.mark.parametrize("decay_all", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_are_pytorchs(case, decay, decay_all):
    model, (ours, theirs) = Toy(), CASES[case]
    expected = pytorch(model, theirs, decay, decay_all)
    follow(ours(model, weight_decay=decay, decay_all=decay_all), model)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.value, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("decay_all", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_fifty_steps_of_lamb_are_timms(decay, decay_all, library):
    lamb = library("timm.optim").Lamb
    model = Toy()
    model.bn.bias.value = np.zeros(5)  # a norm of 0: no share of it could be a step
    expected = pytorch(model, lambda t, groups: lamb(groups, max_grad_norm=None), decay, decay_all)
    follow(LAMB(model, weight_decay=decay, decay_all=decay_all), model)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.value, expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


MAKERS = [lambda m: SGD(m, 0.9, True, 0.1), AdamW, LAMB]


@pytest.mark.parametrize("make", MAKERS)
def test_nothing_that_a_caller_holds_is_written_to(make):
    model = Toy()
    optimizer = make(model)
    follow(optimizer, model, 3)
    held = [*model.state_dict().values(), *optimizer.state_dict().values(), *(p.grad for p in model.parameters())]
    for array in held:
        array.flags.writeable = False
    copies = [array.copy() for array in held]
    follow(optimizer, model, 3)
    for array, copy in zip(held, copies):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("make", MAKERS)
def test_a_restored_optimizer_goes_on_bit_for_bit(make):
    whole, halves = Toy(), Toy()
    follow(make(whole), whole, 20)
    first, second = make(halves), make(halves)
    for step in range(20):
        for name, grad in gradients(step, halves).items():
            dict(halves.named_parameters())[name].grad = grad
        (first if step < 10 else second).step(0.1 / (1 + step))
        if step == 9:
            second.load_state_dict(first.state_dict())
    for (name, a), (_, b) in zip(whole.named_parameters(), halves.named_parameters()):
        np.testing.assert_array_equal(a.value, b.value, err_msg=name)


def test_float32_stays_float32_and_frozen_stays_put():
    model = Toy().astype(np.float32)
    model.fc.bias.trainable = False
    before = model.fc.bias.value
    for optimizer in (SGD(model, 0.9, True, 0.1), AdamW(model), LAMB(model)):
        for parameter in model.parameters():
            parameter.grad = np.ones_like(parameter.value)
        optimizer.step(np.float64(0.1))
        optimizer.step(0.1)
        assert {parameter.value.dtype for parameter in model.parameters()} == {np.dtype(np.float32)}
    assert model.fc.bias.value is before
    with pytest.raises(ValueError, match="momentum"):
        SGD(model, 0.0, nesterov=True)


@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clipping_is_pytorchs(largest):
    torch, model = oracles.torch(), Toy()
    for name, grad in gradients(0, model).items():
        dict(model.named_parameters())[name].grad = grad
    tensors = [
        torch.nn.Parameter(torch.zeros(parameter.value.shape, dtype=torch.float64)) for parameter in model.parameters()
    ]
    for tensor, parameter in zip(tensors, model.parameters()):
        tensor.grad = torch.from_numpy(parameter.grad.copy())
    expected = torch.nn.utils.clip_grad_norm_(tensors, largest).item()
    norm = gradient_norm(model.parameters())
    assert norm == pytest.approx(expected, rel=1e-12)
    clip_gradients(model.parameters(), norm, largest)
    for tensor, parameter in zip(tensors, model.parameters()):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-12)


def torch_rates(make, total):
    torch = oracles.torch()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    schedule, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("total", [20, 60, 101])
def test_schedules_are_pytorchs(total):
    cycle = torch_rates(lambda s, o: s.OneCycleLR(o, 1.0, total_steps=total), total - 1)
    np.testing.assert_allclose([one_cycle(k, total) for k in range(total - 1)], cycle, rtol=1e-9)
    half = torch_rates(lambda s, o: s.CosineAnnealingLR(o, total), total)
    np.testing.assert_allclose([cosine(k, total) for k in range(total)], half, rtol=1e-9)
    stairs = torch_rates(lambda s, o: s.MultiStepLR(o, [-(-total // 2), -(-3 * total // 4)]), total)
    np.testing.assert_allclose([steps(k, total) for k in range(total)], stairs, rtol=1e-9)
    for ours, milestones in ((thirds, (1 / 3, 2 / 3)), (quarters, (0.25, 0.5, 0.75))):
        stairs = torch_rates(lambda s, o: s.MultiStepLR(o, [math.ceil(m * total) for m in milestones]), total)  # noqa: B023
        np.testing.assert_allclose([ours(k, total) for k in range(total)], stairs, rtol=1e-9)
    line = torch_rates(lambda s, o: s.LinearLR(o, 0.1, 1.0, 7), total)
    np.testing.assert_allclose([warm_up(k, 7) for k in range(total)], line, rtol=1e-9)


def test_schedules_stay_in_range_for_the_shortest_runs():
    for schedule in SCHEDULES.values():
        for total in range(1, 8):
            assert all(0 <= schedule(step, total) <= 1 for step in range(total)), (schedule, total)


def test_the_average_is_the_weighted_sum_of_what_was():
    model, d = Toy(), 0.5
    average, expected = EMA(model, d), model.fc.weight.value
    for step in range(30):
        model.fc.weight.value = model.fc.weight.value + 1.0
        average.update(model)
        warm = min(d, (2 + step) / (11 + step))
        expected = warm * expected + (1 - warm) * model.fc.weight.value
    averaged = average.model(model)
    np.testing.assert_allclose(averaged.fc.weight.value, expected, rtol=1e-12)
    assert averaged.bn.num_batches_tracked.value.dtype == np.int64
    assert not np.allclose(averaged.fc.weight.value, model.fc.weight.value)


def test_the_former_names_warn():
    for old, new in (("Average", training.EMA), ("Watch", training.Callback)):
        with pytest.warns(DeprecationWarning, match=f"{old} is now called {new.__name__}"):
            assert getattr(training, old) is new
    with pytest.raises(AttributeError, match="no attribute 'Mean'"):
        training.Mean  # noqa: B018


@pytest.mark.parametrize("optimizer", [SGD, AdamW, LAMB])
@pytest.mark.parametrize("model", [[], None, "resnet18"])
def test_an_optimizer_takes_a_model(optimizer, model):
    with pytest.raises(TypeError, match="an optimizer takes a model, not"):
        optimizer(model)
