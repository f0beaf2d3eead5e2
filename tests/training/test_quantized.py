"""Quantization-aware training: it goes on where it stopped, writes the integers it learnt, and pays at few bits."""

from dataclasses import replace

import numpy as np
import pytest

import npresnet
from npresnet import ops, use
from npresnet.training import Recipe, Stopped, Trainer, read_checkpoint, restore
from npresnet.training.checkpoint import BEST, FINAL
from npresnet.training.evaluate import predict
from npresnet.training.quantized import quantized_name

from ..support.drawn import drawn_source, small_model
from .test_resume import StopAt, assert_equal, files

FLOAT = Recipe(epochs=8, batch_size=16, lr=0.05)
INT8 = Recipe(epochs=2, batch_size=16, lr=0.01, precision="int8")


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


@pytest.fixture(scope="module")
def trained():
    """The arrays of a network that has learnt the classes, in float32."""
    with use("numpy"):
        trainer = Trainer(small_model(), FLOAT, drawn_source())
        trainer.fit()
    assert trainer.history[-1]["train_accuracy"] > 0.9
    return {key: value.copy() for key, value in trainer.model.state_dict().items()}


def fresh(trained, recipe=INT8):
    source, model = drawn_source(), small_model()
    model.load_state_dict({key: value.copy() for key, value in trained.items()})
    return Trainer(model, recipe, source, source.subset(np.arange(9)))


def test_the_files_hold_what_was_trained(trained, tmp_path):
    trainer = fresh(trained)
    trainer.fit(tmp_path)
    model, network = npresnet.load_model(tmp_path / FINAL), npresnet.load_quantized(quantized_name(tmp_path / FINAL))
    assert npresnet.load_quantized(quantized_name(tmp_path / BEST)).spec == model.spec
    for key, value in model.state_dict().items():  # the running statistics among them stayed
        moved = not np.array_equal(value, trained[key])
        assert moved == key.endswith(("weight", "bias")), key
    x = next(trainer.batches.in_order()).x
    scores = trainer.precision.evaluated(model).logits(x)
    assert np.abs(scores - network(x)).max() < 2.01 * network.steps[-1].scale
    np.testing.assert_array_equal(network(x), trainer.precision.fake.network()(x))
    loss, predicted = predict(trainer.precision.evaluated(model), trainer.validation)
    assert trainer.history[-1]["validation_accuracy"] == (predicted == trainer.validation.labels).mean()
    assert trainer.history[-1]["validation_loss"] == pytest.approx(loss)


@pytest.mark.parametrize("recipe", [INT8, replace(INT8, weight_bits=4, average=0.9, accumulate=2)])
def test_a_run_that_stopped_goes_on_to_the_bit(trained, tmp_path, recipe):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    fresh(trained, recipe).fit(whole)
    with pytest.raises(Stopped):
        fresh(trained, recipe).fit(parts, StopAt(2))
    again = fresh(trained, recipe)
    restore(again, read_checkpoint(parts), parts)
    assert again.precision.fake.observed == 2 * recipe.accumulate
    again.fit(parts)
    assert_equal(files(whole), files(parts))


def accuracy(network, source, model):
    loss, predicted = predict(network, source)
    return (predicted == source.labels).mean(), loss


def test_it_is_worth_it_at_few_bits(trained, tmp_path):
    """Three levels of weights: what rounding breaks, training repairs."""
    recipe = replace(INT8, epochs=12, weight_bits=2, lr=0.02)
    trainer = fresh(trained, recipe)
    x, source = np.concatenate([batch.x for batch in trainer.batches.in_order()]), drawn_source()
    after = npresnet.quantize(trainer.model, x, weight_bits=2, correct_bias=True)(x)
    trainer.fit()
    learnt = trainer.precision.fake.network()(x)
    losses = [ops.softmax_cross_entropy(scores, source.labels)[0] for scores in (after, learnt)]
    right = [(scores.argmax(1) == source.labels).mean() for scores in (after, learnt)]
    assert losses[1] < 0.5 * losses[0] and right[1] >= right[0], (losses, right)


def test_what_cannot_be_is_said_before_the_first_step(trained):
    with pytest.raises(ValueError, match="weight_bits"):
        Recipe(precision="int8", weight_bits=1)
    source = drawn_source()
    model = npresnet.create_model("resnet20", num_classes=3, depths=(1, 1, 1), activation="silu")
    model.preprocessing = small_model().preprocessing
    with pytest.raises(ValueError, match="no equivalent on integers"):
        Trainer(model, INT8, source)
    with pytest.raises(ValueError, match="float32"):
        Trainer(small_model().astype(np.float64), INT8, source)
