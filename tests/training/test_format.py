"""A checkpoint's bytes are a contract: runs that an earlier version began are resumed by every later one."""

from hashlib import sha256

import numpy as np
import pytest

from npresnet import use
from npresnet.training import Recipe, Trainer, read_checkpoint, restore
from npresnet.training.checkpoint import FILE, save_checkpoint

from ..support.drawn import cifar_model, drawn_source

RECIPES = {
    "sgd": Recipe(epochs=3, batch_size=16, lr=0.05, held_out=5000),
    "adamw": Recipe(
        epochs=3, batch_size=16, lr=1e-3, optimizer="adamw", average=0.9, precision="float16", held_out=0.25
    ),
}
WRITTEN = {  # SHA-256 of the file as the version before the state had types wrote it, November 2026
    "sgd": "9c269c2471c64018dda0a576a8ae853cec8b86a5dc2a23a039a7bc6046b6d1e8",
    "adamw": "9dbcc1189879c8c7aebbc7354b283d16e83a3a8c648f38b5726defab9929fb99",
}


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def fresh(recipe):
    return Trainer(cifar_model(), recipe, drawn_source(), about={"note": "kept", "seed": None})


def drawn(arrays, rng):
    """Arrays of the same names, shapes and dtypes, whose numbers are the same on every machine."""
    return {key: (rng.integers(1, 1000, array.shape) / 1024).astype(array.dtype) for key, array in arrays.items()}


def halfway(recipe):
    """A trainer in the second step of its second epoch, without a computation that rounds."""
    trainer, rng = fresh(recipe), np.random.default_rng(0)
    trainer.model.load_state_dict(drawn(trainer.model.state_dict(), rng))
    trainer.optimizer.load_state_dict(drawn(trainer.optimizer.expected_state(), rng))
    if trainer.ema:
        trainer.ema.arrays, trainer.ema.steps = drawn(trainer.ema.arrays, rng), 4
    trainer.epoch, trainer.step, trainer.totals = 1, 1, [17.25, 9, 16]
    trainer.history = [{"epoch": 1, "lr": 0.05, "train_loss": 1.125, "train_accuracy": 0.5, "images_per_second": 99.5}]
    return trainer


@pytest.mark.parametrize("name", RECIPES)
def test_the_bytes_are_those_of_earlier_versions(name, tmp_path):
    trainer = halfway(RECIPES[name])
    save_checkpoint(trainer, tmp_path)
    assert sha256((tmp_path / FILE).read_bytes()).hexdigest() == WRITTEN[name]
    again = fresh(RECIPES[name])
    restore(again, read_checkpoint(tmp_path), tmp_path)
    assert (again.epoch, again.step, list(again.totals)) == (1, 1, [17.25, 9, 16])
    assert (again.history, again.precision.state()) == (trainer.history, trainer.precision.state())
    groups = [(trainer.model.state_dict(), again.model.state_dict()), (trainer.optimizer.state, again.optimizer.state)]
    if trainer.ema:
        groups.append((trainer.ema.arrays, again.ema.arrays))
        assert again.ema.steps == 4
    for written, read in groups:
        assert written.keys() == read.keys()
        for key, array in written.items():
            np.testing.assert_array_equal(read[key], array, err_msg=key)
