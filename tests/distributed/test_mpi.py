"""Ranks that are processes: the numbers of one process, whatever the network and the number of ranks."""

import json

import numpy as np
import pytest

from npresnet import use

from .launch import launch, needs_mpi
from .program import train

pytestmark = needs_mpi


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def trained(tmp_path, size, **changes):
    """The arrays of a run on so many processes."""
    words = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    done = launch(size, "tests.distributed.program", tmp_path / "state.npz", *words, timeout=900)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "state.npz") as arrays:
        state = dict(arrays)
    assert state.pop("size") == size
    return state


def assert_agree(found, trainer, losses):
    """To 1e-10 of the largest."""
    for key, wanted in {**trainer.model.state_dict(), "losses": np.array(losses)}.items():
        np.testing.assert_allclose(found[key], wanted, rtol=0, atol=1e-10 * np.abs(wanted).max(), err_msg=key)


def test_processes_train_the_weights_of_one(tmp_path):
    trainer, losses = train()
    assert len(losses) == 20
    for size in (2, 3):
        assert_agree(trained(tmp_path, size), trainer, losses)


def test_without_synchronized_norms_processes_are_accumulated_parts(tmp_path):
    assert_agree(trained(tmp_path, 2, sync_batch_norm=False), *train(accumulate=2))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet20", "resnet18", "preresnet20"])
def test_every_network_on_one_to_four_processes(tmp_path, model):
    alone = train(model)
    for size in (2, 3, 4):
        assert_agree(trained(tmp_path, size, model=model), *alone)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_number_of_accumulated_parts(tmp_path, size):
    assert_agree(trained(tmp_path, size, model="resnet20", sync_batch_norm=False), *train("resnet20", accumulate=size))
