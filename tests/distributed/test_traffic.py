"""How much the ranks of a step say to each other, and how much of the wait for it is hidden."""

import json

import numpy as np
import pytest

from npresnet import use
from npresnet.distributed import simulate
from npresnet.distributed.measured import Measured
from npresnet.nn import BatchNorm2d
from npresnet.training import Recipe, Trainer

from ..support.drawn import drawn_source, small_model
from .launch import launch, needs_mpi

STEPS = 5


def counted(ranks, **changes):
    """(what was sent in a step, the bytes of all gradients, channels of all batch norms)"""
    measured, model = Measured(ranks), small_model()
    recipe = Recipe(epochs=1, batch_size=12, held_out=0.0, **changes)
    trainer = Trainer(model, recipe, drawn_source(12 * STEPS), communicator=measured)
    model.train()
    batches = list(trainer.batches.epoch(0))
    measured.reset()
    for batch in batches:
        trainer.update(batch)
    channels = sum(norm.weight.value.size for norm in model.modules() if isinstance(norm, BatchNorm2d))
    return measured, sum(parameter.value.nbytes for parameter in model.parameters()), channels


@pytest.mark.parametrize("size", [2, 3])
def test_a_step_sends_the_gradients_once_and_the_statistics(size):
    with use("numpy"):
        for measured, gradients, channels in simulate(size, counted):
            ring = 2 * (size - 1) / size
            statistics = (size - 1) * 3 * 8 * channels + ring * 2 * 8 * channels  # n, μ, M, and two sums, in float64
            totals = ring * 3 * 8 + (size - 1) * 8  # loss, right answers, images; how many there are
            assert measured.sent / STEPS == pytest.approx(ring * gradients + statistics + totals)


def test_without_synchronized_norms_the_statistics_are_running_ones():
    with use("numpy"):
        for measured, gradients, channels in simulate(2, lambda ranks: counted(ranks, sync_batch_norm=False)):
            assert measured.sent / STEPS == pytest.approx(gradients + 2 * 4 * channels + 3 * 8 + 8)


@needs_mpi
@pytest.mark.slow
def test_most_of_the_sums_time_is_hidden_behind_the_pullback():
    done = launch(2, "tests.distributed.hidden", timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["exposed"] <= 0.3 * found["alone"], found
    assert np.isfinite(found["alone"])
