"""A function as a graph, and a training step as one, do what the same does without."""

import numpy as np
import pytest

from npresnet import ops, to_device, use
from npresnet.backend import Captured
from npresnet.nn import initialize
from npresnet.training import SGD, AdamW, CapturedStep
from npresnet.training.flat_parameters import Flat
from npresnet.training.precision import MixedPrecision

from ..support import fake_cupy
from ..support.shallow import shallow


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
    return initialize(shallow("resnet20", num_classes=5)).astype(np.float64).train()


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
    assert list(step.recording.run.graphs.values()) != [None]
    np.testing.assert_array_equal(step.sums.get()[2], 4)
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(there.state_dict()[key].get(), array, rtol=1e-7, atol=1e-10, err_msg=key)
    for key, array in sgd.state.items():
        np.testing.assert_allclose(sgd_there.state[key].get(), array, rtol=1e-7, atol=1e-10, err_msg=key)


def test_another_shape_starts_again(cupy):
    model, there = fresh(), to_device(fresh(), "cuda").train()
    sgd, step = SGD(model), CapturedStep(there, SGD(there))
    with use("numpy"):
        for n in (4, 4, 2, 2, 2):
            ((x, labels),) = batches(1, n)
            found = step(cupy.asarray(x), cupy.asarray(labels), 0.01)
            np.testing.assert_allclose(found.get(), on_the_host(model, sgd, x, labels, 0.01), rtol=1e-9)
        assert len(step.recording.run.graphs) == 2
        found = step(cupy.asarray(np.concatenate([x, x])), cupy.asarray(np.tile(labels, 2)), 0.01)  # as before
        due = on_the_host(model, sgd, np.concatenate([x, x]), np.tile(labels, 2), 0.01)
        np.testing.assert_allclose(found.get(), due, rtol=1e-9)


def test_arrays_that_somebody_replaced_are_read(cupy):
    model, there = fresh(), to_device(fresh(), "cuda").train()
    sgd, step = SGD(model), CapturedStep(there, SGD(there))
    with use("numpy"):
        for number, (x, labels) in enumerate(batches(4)):
            if number == 2:
                pool, found = step.recording.run.pool, None  # the loss lies in it
                for net in (model, there):
                    net.fc.weight.value = 2 * net.fc.weight.value
            found = step(cupy.asarray(x), cupy.asarray(labels), 0.01)
            np.testing.assert_allclose(found.get(), on_the_host(model, sgd, x, labels, 0.01), rtol=1e-9)
    assert pool is not step.recording.run.pool and pool.free_bytes() == 0  # given back
    assert cupy is not fake_cupy.MODULE or pool.freed == 1


def test_any_function_of_arrays(cupy):
    calls = []

    def function(a, b):
        calls.append(a.shape)
        return a[b] * 2, a.sum()

    run, rng = Captured(cupy, function), np.random.default_rng(0)
    for n in (5, 5, 5, 7, 5, 7, 7, 7):
        a, b = rng.standard_normal((n, 3)), rng.integers(0, n, 4)
        given = cupy.asarray(a), cupy.asarray(b)
        fake_cupy.transfers.clear()
        rows, total = run(*given)
        assert fake_cupy.transfers == []
        np.testing.assert_array_equal(rows.get(), a[b] * 2)
        np.testing.assert_allclose(total.get(), a.sum(), rtol=1e-12)
        np.testing.assert_array_equal(given[0].get(), a)
    assert calls == [(5, 3), (5, 3), (7, 3), (7, 3)]  # once as it is and once to be captured


def test_many_arrays_as_one(cupy):
    arrays = [cupy.asarray(np.full(shape, k + 1.0)) for k, shape in enumerate([(2, 3), (65,), (), (64,)])]
    flat = Flat(cupy, arrays)
    assert [part.shape for part in flat.parts] == [array.shape for array in arrays]
    assert flat.array.get().tolist() == [0.0] * (64 + 128 + 64 + 64)
    flat.fill(arrays)
    assert flat.array.get().sum() == 6 + 2 * 65 + 3 + 4 * 64  # and zeros between them
    flat.array *= 2
    for part, array in zip(flat.parts, arrays):
        np.testing.assert_array_equal(part.get(), 2 * array.get())


def moving(model, sgd):
    return {name: parameter.value for name, parameter in model.named_parameters()} | sgd.state


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_no_weight_moves_from_a_step_that_is_not_finite_on(cupy, bad, monkeypatch):
    there = to_device(fresh(), "cuda").train()
    sgd = SGD(there, weight_decay=1e-3)
    step, factor = CapturedStep(there, sgd), cupy.asarray(np.ones(()))
    if bad == "gradient":  # of one layer, where the loss is finite
        parameter, add = dict(there.named_parameters())["layer2.0.conv1.weight"], type(there.fc.weight).accumulate
        monkeypatch.setattr(
            type(parameter), "accumulate", lambda self, grad: add(self, grad * factor if self is parameter else grad)
        )
    kept = None
    for number, (x, labels) in enumerate(batches(5)):
        x = np.where(x > 1, np.inf, x) if (number, bad) == (3, "loss") else x
        factor.fill(np.inf if number == 3 else 1)
        with np.errstate(all="ignore"):
            step(cupy.asarray(x), cupy.asarray(labels), 0.1)
        if number == 2:
            kept = {key: array.get() for key, array in moving(there, sgd).items()}
    loss, _, good = step.sums.get()
    assert np.isnan(loss) and good == 3
    for key, array in moving(there, sgd).items():
        np.testing.assert_array_equal(array.get(), kept[key], err_msg=key)


@pytest.mark.slow
def test_an_overflow_costs_a_step_and_halves_the_scale(cupy):
    there = to_device(fresh().astype(np.float32), "cuda").train()
    sgd, mixed = SGD(there), MixedPrecision(there, np.float16, patience=2)
    step, (x, labels) = CapturedStep(there, sgd, mixed), batches(1)[0]
    found, moved = [], []
    for number in range(6):
        before = there.conv1.weight.value.get()
        if number == 2:
            mixed.scale.fill(2.0**60)
        with np.errstate(all="ignore"):
            step(cupy.asarray(x.astype(np.float32)), cupy.asarray(labels), 0.01)
        found.append(float(mixed.scale))
        moved.append(not np.array_equal(there.conv1.weight.value.get(), before))
        if number == 3:
            mixed.scale.fill(2.0**10)
    assert found == [2.0**15, 2.0**16, 2.0**59, 2.0**58, 2.0**10, 2.0**11]
    assert moved == [True, True, False, False, True, True]
    assert step.sums.get()[2] == 6 and there.conv1.weight.value.dtype == np.float32


def test_what_it_is_not_for(cupy):
    with pytest.raises(TypeError, match=r"on a GPU, see to_device\(\), and SGD"):
        CapturedStep(fresh(), SGD(fresh()))
    there = to_device(fresh(), "cuda")
    with pytest.raises(TypeError, match="and SGD"):
        CapturedStep(there, AdamW(there))
