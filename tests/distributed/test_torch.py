"""Ranks train as PyTorch does: on the whole batch in one process, or as its DistributedDataParallel."""

import json
from functools import partial

import numpy as np
import pytest

from npresnet import use
from npresnet.distributed import simulate
from npresnet.training import Recipe, Trainer
from npresnet.training.run import Totals

from ..support import torch_training
from ..support.drawn import cifar_model, drawn_source
from .ddp import IMAGES, RECIPE, SIDE, STEPS
from .launch import launch, needs_mpi

pytest.importorskip("torch")


def trained(ranks, recipe):
    """The losses of 20 steps, whose batches begin every epoch anew."""
    model = cifar_model(side=SIDE).astype(np.float64)
    trainer, losses = Trainer(model, recipe, drawn_source(IMAGES, SIDE), communicator=ranks), []
    model.train()
    for now in range(STEPS):
        trainer.epoch, trainer.step = divmod(now, len(trainer.batches))
        (batch, *_) = trainer.batches.epoch(trainer.epoch, trainer.step)
        trainer.totals = Totals()
        trainer.update(batch)
        losses.append(trainer.totals.loss / trainer.totals.images)
    return losses


@pytest.mark.parametrize("size", [2, 3, 5])
def test_with_synchronized_norms_the_losses_are_pytorchs_of_whole_batches(size):
    recipe = Recipe(**{**vars(RECIPE), "sync_batch_norm": True})
    with use("numpy"):
        found = simulate(size, partial(trained, recipe=recipe))
    model = cifar_model(side=SIDE).astype(np.float64)
    batches = Trainer(cifar_model(side=SIDE), recipe, drawn_source(IMAGES, SIDE)).batches
    given = [batch for epoch in range(recipe.epochs) for batch in batches.epoch(epoch)]
    rates = [recipe.rate(step, len(batches)) for step in range(STEPS)]
    wanted = torch_training.losses(torch_training.twin_of(model), recipe, given, rates)
    assert wanted[-1] < wanted[0] and len(wanted) == STEPS
    for losses in found:
        np.testing.assert_allclose(losses, wanted, rtol=1e-10)


@needs_mpi
def test_without_the_losses_are_those_of_distributed_data_parallel(tmp_path):
    done = launch(2, "tests.distributed.ddp", tmp_path / "meeting")
    assert done.returncode == 0, done.stderr
    with use("numpy"):
        losses, _ = simulate(2, partial(trained, recipe=RECIPE))
    np.testing.assert_allclose(losses, json.loads(done.stdout.splitlines()[-1]), rtol=1e-10)
