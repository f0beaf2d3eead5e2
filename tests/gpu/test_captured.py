"""A training step as a graph does what the same step does without one."""

import numpy as np
import pytest

from npresnet import create_model, ops, to_device, use
from npresnet.nn import initialize
from npresnet.training import SGD, AdamW, CapturedStep

from .. import fake_cupy


def batches(count, n=4):
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((n, 3, 16, 16)), rng.integers(0, 5, n)) for _ in range(count)]


def on_the_host(model, optimizer, x, labels, lr):
    model.zero_grad()
    logits, pullback = model.logits_vjp(x, input_grad=False)
    loss, loss_pullback = ops.softmax_cross_entropy(logits, labels)
    pullback(loss_pullback())
    optimizer.step(lr)
    return loss


def fresh():
    return initialize(create_model("resnet20", num_classes=5)).astype(np.float64).train()


@pytest.mark.parametrize("nesterov", [False, True])
def test_four_steps_of_a_schedule(cupy, nesterov):
    model, there = fresh(), to_device(fresh(), "cuda").train()
    sgd, sgd_there = (SGD(m, momentum=0.9, nesterov=nesterov, weight_decay=1e-3) for m in (model, there))
    step = CapturedStep(there, sgd_there)
    with use("numpy"):
        for (x, labels), lr in zip(batches(4), (0.1, 0.2, 0.05, 0.1)):
            fake_cupy.transfers.clear()
            found = step(cupy.asarray(x), cupy.asarray(labels), lr)
            assert fake_cupy.transfers == []
            np.testing.assert_allclose(found.get(), on_the_host(model, sgd, x, labels, lr), rtol=1e-9)
    assert step.graph is not None
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(there.state_dict()[key].get(), array, rtol=1e-7, atol=1e-10, err_msg=key)
    for key, array in sgd.state.items():
        np.testing.assert_allclose(sgd_there.state[key].get(), array, rtol=1e-7, atol=1e-10, err_msg=key)


def test_another_shape_starts_again(cupy):
    model, there = fresh(), to_device(fresh(), "cuda").train()
    sgd, step = SGD(model), CapturedStep(there, SGD(there))
    with use("numpy"):
        for n in (4, 4, 2, 2, 2):
            (x, labels), = batches(1, n)
            found = step(cupy.asarray(x), cupy.asarray(labels), 0.01)
            np.testing.assert_allclose(found.get(), on_the_host(model, sgd, x, labels, 0.01), rtol=1e-9)


def test_what_it_is_not_for(cupy):
    with pytest.raises(TypeError, match=r"on a GPU, see to_device\(\), and SGD"):
        CapturedStep(fresh(), SGD(fresh()))
    there = to_device(fresh(), "cuda")
    with pytest.raises(TypeError, match="and SGD"):
        CapturedStep(there, AdamW(there))
