"""Fake quantization: the integer network's scores, and gradients that are the float network's, straight through."""

import numpy as np
import pytest

import npresnet
from npresnet import nn, ops
from npresnet.quantized.fake import OBSERVED, FakeQuantized, parameter_gradients
from npresnet.quantized.float_step import INPUT, FloatStep
from npresnet.quantized.lower import lower

from .test_quantized import images, lively

NETWORKS = {
    "resnet20": {},
    "resnet50": {"width": 8, "depths": (1, 1, 1)},
    "preresnet18": {"width": 16, "depths": (1, 1, 1)},
    "plain20": {},
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_step_is_that_of_the_integers(name, bits):
    """Of the integers' inputs a step gives the integers' results, but where float32 rounds across a halfway point."""
    model, x = lively(npresnet.create_model(name, **NETWORKS[name])), images(8)
    fake = FakeQuantized(model, bits)
    scores, _ = fake.vjp(x)
    network = fake.network()
    levels = {INPUT: (network.scale, network.zero_point)}
    values = {INPUT: ops.dequantize(ops.quantize(x, *levels[INPUT]), *levels[INPUT])}
    for step, (_, due) in zip(fake.steps, network.run(x)):
        y, _ = fake._step(step, [values[name] for name in step.inputs], levels, False)
        wrong = np.abs(y - ops.dequantize(*due)) / due.scale
        assert wrong.max() < 1.01 and (wrong > 0.01).mean() < 1e-4, (step.name, (wrong > 0.01).mean())
        assert levels[step.name] == (due.scale, due.zero_point)
        values[step.name] = ops.dequantize(*due)
    assert np.abs(scores - network(x)).max() < 5 * network.steps[-1].scale
    assert (scores.argmax(1) == network(x).argmax(1)).mean() > 0.8
    np.testing.assert_array_equal(fake.logits(x), scores)


def test_gradients_are_near_those_of_the_float_network_in_eval_mode():
    """At 8 bits the rounding is small, and the pullback ignores it: what is left is the float network's gradient."""
    model, x = npresnet.load_model(), images(8)
    dy = np.random.default_rng(2).standard_normal((8, 10)).astype(np.float32)
    _, pullback = FakeQuantized(model).vjp(x)
    pullback(dy)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    _, pullback = model.logits_vjp(x)
    pullback(dy)
    for name, parameter in model.named_parameters():
        cosine = np.vdot(found[name], parameter.grad) / np.linalg.norm(found[name]) / np.linalg.norm(parameter.grad)
        assert cosine > 0.8, (name, cosine)
        assert 0.7 < np.linalg.norm(found[name]) / np.linalg.norm(parameter.grad) < 1.4, name


@pytest.mark.parametrize("kind", ["convolution", "with a bias", "grouped", "norm alone", "classifier"])
def test_the_folded_gradients_are_the_adjoint_of_folding(kind):
    """<dW, δW> + <db, δb> = Σ <d parameter, δ parameter>, in float64: W and b as functions of the parameters."""
    rng = np.random.default_rng(3)
    layers = {
        "convolution": (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
        "with a bias": (nn.Conv2d(4, 6, 3, bias=True), nn.BatchNorm2d(6)),
        "grouped": (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
        "norm alone": (nn.BatchNorm2d(6),),
        "classifier": (nn.Linear(5, 6),),
    }[kind]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    for layer in layers:
        for _, held in layer.named_arrays():
            if held.value.dtype.kind == "f":
                held.value = rng.uniform(0.5, 2, held.value.shape)
    step = FloatStep("layer", (INPUT,), layers)
    w, b = step.affine()
    dw, db = rng.standard_normal(w.shape), rng.standard_normal(b.shape)
    parameter_gradients(step, dw, db)
    gradients = [parameter.grad for parameter in parameters]
    moves = [rng.standard_normal(parameter.value.shape) for parameter in parameters]
    before, h, ends = [parameter.value for parameter in parameters], 1e-6, []
    for sign in (1, -1):
        for parameter, value, move in zip(parameters, before, moves):
            parameter.value = value + sign * h * move
        w, b = step.affine()
        ends.append((dw * w).sum() + (db * b).sum())
    due = (ends[0] - ends[1]) / (2 * h)
    np.testing.assert_allclose(sum((g * m).sum() for g, m in zip(gradients, moves)), due, rtol=1e-6)


def test_what_saturates_and_what_is_frozen_gets_no_gradient():
    model, x = lively(npresnet.create_model("resnet20")), images(4)
    fake = FakeQuantized(model)
    fake.vjp(x)
    for seen in fake.ranges.values():
        seen.low, seen.high = -1e-6, 1e-6
    fake.observed = OBSERVED
    model.zero_grad()
    scores, pullback = fake.vjp(x)
    pullback(np.ones_like(scores))
    assert not model.conv1.weight.grad.any()
    model.zero_grad()
    model.conv1.weight.trainable = False
    _, pullback = FakeQuantized(model).vjp(x)
    pullback(np.ones_like(scores))
    assert model.conv1.weight.grad is None and model.layer1[0].conv1.weight.grad.any()
    with pytest.raises(RuntimeError, match="once"):
        pullback(np.ones_like(scores))


def test_ranges_follow_some_batches_and_then_stay():
    model = lively(npresnet.create_model("resnet20"))
    fake = FakeQuantized(model)
    states = []
    for seed in range(3):
        fake.vjp(images(2, seed=seed))
        states.append(fake.state())
    assert states[0][0] == 1 and states[0] != states[1] != states[2]
    fake.observed = OBSERVED
    fake.vjp(images(2, seed=9))
    assert fake.state()[1:] == states[2][1:]
    other = FakeQuantized(model)
    other.restore(fake.state())
    x = images(3, seed=5)
    np.testing.assert_array_equal(other.logits(x), fake.logits(x))
    assert other.state() == fake.state()
    fresh = FakeQuantized(model)
    again = FakeQuantized(model)
    again.restore(fresh.state())
    again.vjp(x), fresh.vjp(x)
    assert again.state() == fresh.state()


def test_the_model_is_left_as_it_was():
    model, x = lively(npresnet.create_model("resnet20")), images(4)
    before = {key: value.copy() for key, value in model.state_dict().items()}
    x.flags.writeable = False
    scores, pullback = FakeQuantized(model).vjp(x)
    pullback(np.ones_like(scores))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    assert len(FakeQuantized(model).steps) == len(lower(model))
