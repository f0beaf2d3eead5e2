"""Mixed precision: float32 where it matters, halves where it is fast, and a loss scale that finds its way."""

from dataclasses import replace

import numpy as np
import pytest

from npresnet import ops, read_weights, use
from npresnet.nn import BatchNorm2d, Parameter
from npresnet.training import Stopped, Trainer, TrainingError, read_checkpoint, restore
from npresnet.training.precision import FullPrecision, MixedPrecision, half_dtype, make_precision

from ..support.drawn import drawn_source, small_model
from .test_resume import RICH, StopAt

HALVES = replace(RICH, epochs=1, precision="float16")


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def gradients(precision, model, x, labels):
    model.zero_grad()
    logits, pullback = precision.logits_vjp(x)
    loss, loss_pullback = ops.softmax_cross_entropy(logits, labels)
    pullback(loss_pullback(precision.scale))
    return loss, {name: parameter.grad / precision.scale for name, parameter in model.named_parameters()}


def test_the_gradients_are_those_of_float32_to_the_roundings_of_halves():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 3, 32, 32)).astype(np.float32), rng.integers(0, 3, 8)
    found, due = (
        gradients(make_precision(which, model), model, x, labels)
        for which in ("float16", "float32")
        for model in [small_model().train()]
    )
    assert abs(found[0] - due[0]) < 0.05 * abs(due[0]) and found[0].dtype == np.float32
    for key, gradient in due[1].items():
        assert found[1][key].dtype == np.float32
        error = np.linalg.norm(found[1][key] - gradient)  # a few values cross the kinks of ReLU;
        assert error <= 0.3 * np.linalg.norm(gradient) + 1e-3, key  # a wrong gradient would give 1


def test_what_stays_in_float32():
    model = small_model().train()
    mixed = MixedPrecision(model, np.float16)
    before = {name: parameter.value.copy() for name, parameter in model.named_arrays()}
    logits, pullback = mixed.logits_vjp(np.ones((2, 3, 32, 32), np.float32))
    assert logits.dtype == np.float32
    pullback(logits)
    for name, parameter in model.named_arrays():
        assert parameter.value.dtype == before[name].dtype
        assert getattr(parameter, "grad", parameter.value).dtype == before[name].dtype
        if "running" in name:
            assert not np.array_equal(parameter.value, before[name]), "the statistics are the model's own"
    for own, low in zip(model.modules(), mixed.copy.modules()):
        if not isinstance(own, BatchNorm2d):
            assert all(
                parameter.value.dtype == np.float16 and parameter.grad is None
                for parameter in vars(low).values()
                if isinstance(parameter, Parameter)
            )


def test_the_scale_halves_on_an_overflow_and_grows_back():
    mixed = MixedPrecision(small_model(), np.float16, scale=8.0, patience=2, largest=16.0)
    found = []
    for finite in (False, True, True, True, True, True, True):
        found.append((mixed.update_scale(finite), mixed.scale))
    assert found == [(False, 4.0), (True, 4.0), (True, 8.0), (True, 8.0), (True, 16.0), (True, 16.0), (True, 16.0)]
    tiny = MixedPrecision(small_model(), np.float16, scale=1.0)
    assert tiny.update_scale(False), "the caller is to report it"
    assert FullPrecision(small_model()).update_scale(False)


def test_an_overflow_leaves_the_weights_alone():
    source, model = drawn_source(), small_model()
    trainer = Trainer(model, HALVES, source)
    trainer.model.train()
    trainer.precision.scale = 2.0**60
    batch = next(iter(trainer.batches.epoch(0)))
    before = {name: parameter.value for name, parameter in model.named_parameters()}
    with np.errstate(over="ignore", invalid="ignore"):
        trainer.update(batch)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.value, before[name])
    assert trainer.precision.scale == 2.0**59 and not trainer.optimizer.state
    trainer.precision.scale = 2.0**10
    trainer.update(batch)
    assert trainer.optimizer.state


def test_a_loss_that_is_not_finite_is_still_told():
    trainer = Trainer(small_model(), HALVES, drawn_source())
    trainer.model.fc.weight.value = trainer.model.fc.weight.value + np.float32(np.inf)
    with pytest.raises(TrainingError, match=r"fc\.weight"), np.errstate(all="ignore"):
        trainer.run_epoch(None, None)


def test_training_learns_and_resumes_bit_for_bit(tmp_path):
    source = drawn_source()
    with pytest.raises(Stopped):
        Trainer(small_model(), HALVES, source).fit(tmp_path, StopAt(2))
    there = Trainer(small_model(), HALVES, source)
    there.precision.scale = 1.0
    restore(there, read_checkpoint(tmp_path), tmp_path)
    there.fit(tmp_path)
    whole = Trainer(small_model(), HALVES, source)
    whole.fit()
    assert there.precision.state() == whole.precision.state()
    saved = read_weights(tmp_path / "final.safetensors")
    for key, array in whole.inference_model().state_dict().items():
        assert saved[key].dtype == array.dtype != np.float16
        np.testing.assert_array_equal(saved[key], array)


def test_names():
    assert half_dtype("float16", on_gpu=False) == np.float16
    with pytest.raises(ValueError, match="bfloat16 needs a GPU; use float16"):
        make_precision("bfloat16", small_model())
    assert make_precision("tf32", small_model()).allow_tf32
    with pytest.raises(ValueError, match="precision is one of float32, tf32, float16, bfloat16"):
        replace(RICH, precision="float8")
