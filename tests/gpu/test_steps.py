"""Training in graphs: what watched steps give, stopped and resumed without losing a bit, and a look now and then."""

from dataclasses import replace

import numpy as np
import pytest

from npresnet import read_weights, to_device, use
from npresnet.data.gpu_batches import GpuBatches
from npresnet.training import Batches, Recipe, Stopped, Trainer, TrainingError, cuda_step, read_checkpoint, restore
from npresnet.training.cuda_step import GraphStep
from npresnet.training.step import Step

from ..support import fake_cupy
from ..support.drawn import drawn_source, small_model
from ..training.test_resume import ADAM, RICH, StopAt, assert_equal, files

RECIPE = Recipe(
    epochs=3,
    batch_size=9,
    lr=0.1,
    schedule="one-cycle",
    label_smoothing=0.1,
    nesterov=True,
    weight_decay=1e-3,
    decay_all=False,
)


def fresh(recipe=RECIPE, dtype=np.float32, scale=None, **options):
    """On 22 images: two batches of nine and one of four."""
    source = drawn_source()
    trainer = Trainer(
        to_device(small_model().astype(dtype), "cuda"),
        recipe,
        source.subset(np.arange(22)),
        source.subset(np.arange(40, 48)),
        seed=1,
        **options,
    )
    if scale:
        trainer.precision.scale = scale
    return trainer


def watched(trainer):
    trainer.update = Step(trainer)
    return trainer


def state(trainer):
    arrays = {**trainer.model.state_dict(), **trainer.optimizer.state}
    return {key: array.get() for key, array in arrays.items()}


def assert_close(graph, plain, tolerance):
    found, due = state(graph), state(plain)
    assert found.keys() == due.keys()
    for key, array in due.items():
        np.testing.assert_allclose(found[key], array, rtol=tolerance, atol=tolerance, err_msg=key)
    for row, wanted in zip(graph.history, plain.history, strict=True):
        for key in row.keys() - {"images_per_second"}:
            assert row[key] == pytest.approx(wanted[key], rel=tolerance), key


def test_the_gpu_makes_the_hosts_batches(cupy):
    there = fresh().batches
    here = Batches(drawn_source().subset(np.arange(22)), there.preprocessing, 9, "crop-flip", seed=1)
    for epoch in range(3):
        for found, due in zip(there.epoch(epoch), here.epoch(epoch), strict=True):
            np.testing.assert_array_equal(found.x.get(), due.x)
            np.testing.assert_array_equal(found.labels.get(), due.labels)


def test_graphs_train_as_watched_steps_do(cupy):
    graph, plain = fresh(dtype=np.float64), watched(fresh(dtype=np.float64))
    assert isinstance(graph.update, GraphStep) and isinstance(graph.batches, GpuBatches)
    graph.fit()
    plain.fit()
    assert_close(graph, plain, 1e-12)
    graphs = graph.update.captured.recording.run.graphs
    assert len(graphs) == 2 and None not in graphs.values()


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0**15, 2.0**18])
def test_so_they_do_in_float16_where_the_first_steps_overflow(cupy, scale):
    recipe = replace(RECIPE, precision="float16", epochs=2)
    graph, plain = fresh(recipe, scale=scale), watched(fresh(recipe, scale=scale))
    for trainer in (graph, plain):
        trainer.precision.patience = 3
        with np.errstate(all="ignore"):
            trainer.fit()
    assert graph.precision.state() == plain.precision.state()
    assert scale == 2.0**15 or plain.precision.state()[0] < scale
    assert_close(graph, plain, 1e-6)


@pytest.mark.parametrize(
    "precision, step",
    [("float32", 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in [("float32", 1), ("float16", 5)])],
)
def test_a_stop_at_any_step_loses_nothing(cupy, precision, step, tmp_path):
    recipe, (whole, halves) = replace(RECIPE, epochs=2, precision=precision), (tmp_path / "whole", tmp_path / "halves")
    for folder in (whole, halves):
        folder.mkdir()
    fresh(recipe).fit(whole)
    with pytest.raises(Stopped):
        fresh(recipe).fit(halves, StopAt(step))
    second = fresh(recipe)
    restore(second, read_checkpoint(halves), halves)
    assert 3 * second.epoch + second.step == step
    second.fit(halves)
    assert_equal(files(whole), files(halves))


# --- the references from here on: what happens when something goes wrong is no matter of kernels -------------------


@pytest.fixture
def reference():
    with fake_cupy.installed() as found, use("numpy"):
        yield found


def complaint(trainer, *args):
    with pytest.raises(TrainingError) as found, np.errstate(all="ignore"):
        trainer.fit(*args)
    return str(found.value)


@pytest.mark.parametrize("look", [1, 2, 100])
def test_a_loss_that_is_not_finite_is_told_as_by_watched_steps(reference, look, tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_step, "CHECK_EVERY", look)
    wild = replace(RECIPE, lr=1e30)
    plain, graph = watched(fresh(wild)), fresh(wild)
    due = complaint(plain)
    assert "not finite" in due and complaint(graph, tmp_path) == due
    assert (graph.epoch, graph.step) == (plain.epoch, plain.step) == (0, 1)
    for name, parameter in plain.model.named_parameters():
        np.testing.assert_array_equal(parameter.value.get(), dict(graph.model.named_parameters())[name].value.get())
    arrays, saved, _ = read_checkpoint(tmp_path)
    assert saved.step == 0 and np.isfinite(arrays["conv1.weight"]).all()


def test_a_gradient_that_is_not_finite_is_named(reference, monkeypatch):
    trainer = fresh()
    parameter = dict(trainer.model.named_parameters())["layer3.0.conv2.weight"]
    monkeypatch.setattr(
        type(parameter),
        "accumulate",
        lambda self, grad: setattr(self, "grad", grad * (np.inf if self is parameter else 1)),
    )
    assert "layer3.0.conv2.weight" in complaint(trainer)
    due = dict(small_model().named_parameters())
    for name, parameter in trainer.model.named_parameters():
        np.testing.assert_array_equal(parameter.value.get(), due[name].value)


def test_nobody_stops_into_a_checkpoint_of_numbers_that_are_not_finite(reference, tmp_path):
    assert "not finite" in complaint(fresh(replace(RECIPE, lr=1e30)), tmp_path, StopAt(2))
    assert read_checkpoint(tmp_path).state.step == 0


def test_what_does_not_happen_again_is_told_too(reference):
    trainer = fresh()
    trainer.model.train()
    for number, batch in zip(range(2), trainer.batches.epoch(0)):
        trainer.step = number
        trainer.update(batch)
    trainer.update.captured.sums[0] = np.nan
    with pytest.raises(TrainingError, match="not finite in step 2 of epoch 1, but is when"):
        _ = trainer.totals


def test_the_host_seldom_waits(reference, monkeypatch):
    trainer = fresh(replace(RECIPE, epochs=1))
    trainer.run_epoch(None, StopAt(0))
    monkeypatch.setattr(cuda_step, "CHECK_EVERY", 2)
    trainer.model.train()
    fake_cupy.transfers.clear()
    for number, batch in enumerate(trainer.batches.epoch(1)):
        trainer.step = number
        trainer.update(batch)
    assert fake_cupy.transfers == ["get"] and trainer.totals[2] == 22


def test_which_recipes_are_captured(reference):
    for recipe in (RECIPE, replace(RECIPE, precision="tf32"), replace(RECIPE, precision="float16", jitter=0.1)):
        assert isinstance(fresh(recipe).update, GraphStep)
    for recipe in (
        RICH,
        ADAM,
        *(replace(RECIPE, **{name: 0.5}) for name in ("clip", "mixup", "average")),
        replace(RECIPE, accumulate=2),
    ):
        assert isinstance(fresh(recipe).update, Step)
    assert isinstance(Trainer(small_model(), RECIPE, drawn_source()).update, Step)


def test_what_is_frozen_stays(reference):
    trainer = fresh(replace(RECIPE, freeze="trunk", epochs=1))
    before = state(trainer)
    trainer.fit()
    after = state(trainer)
    moved = {key for key in before if not np.array_equal(before[key], after[key])}
    assert moved == {"fc.weight", "fc.bias"}


def test_photos_of_the_host_train_in_graphs(reference, tmp_path):
    recipe = replace(RECIPE, jitter=0.2, epochs=1)
    graph, plain = fresh(recipe), watched(fresh(recipe))
    assert not isinstance(graph.batches, GpuBatches)
    graph.fit(tmp_path)
    plain.fit()
    assert_close(graph, plain, 1e-7)
    saved = read_weights(tmp_path / "final.safetensors")
    np.testing.assert_array_equal(saved["fc.weight"], graph.model.fc.weight.value.get())
