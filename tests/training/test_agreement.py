"""Ranks that do not train the same are told so."""

from dataclasses import replace

import numpy as np
import pytest

from npresnet import use
from npresnet.distributed import simulate
from npresnet.training import Recipe, Trainer, TrainingError
from npresnet.training.agreement import check_weights

from ..support.drawn import drawn_source, small_model

RECIPE = Recipe(epochs=1, batch_size=16, held_out=0.0)


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


def started(ranks, seed=0, count=48, **changes):
    """A run whose rank 1 begins with something else."""
    own = ranks.rank == 1
    recipe = replace(RECIPE, **changes) if own else RECIPE
    model, data = small_model(seed if own else 0), drawn_source(count if own else 48)
    Trainer(model, recipe, data, communicator=ranks).fit()


@pytest.mark.parametrize(
    "odd, line",
    [
        ({"lr": 0.2}, "lr: 0.2 on rank 1, 0.1 on rank 0"),
        ({"momentum": 0.8, "clip": 1.0}, "momentum: 0.8 on rank 1, 0.9 on rank 0\nclip: 1.0 on rank 1, 0.0 on rank 0"),
        ({"seed": 3}, "weights: "),
        ({"count": 33}, "data: "),
    ],
)
def test_what_a_rank_begins_with_is_compared(odd, line):
    with pytest.raises(ValueError, match="the ranks must start alike") as raised:
        simulate(3, lambda ranks: started(ranks, **odd))
    assert line in str(raised.value) and "rank 2" not in str(raised.value)


def test_a_weight_that_differs_after_an_epoch_is_found():
    def run(ranks):
        model = small_model()
        if ranks.rank == 2:
            model.fc.weight.value = model.fc.weight.value + np.float32(1e-7) * (np.arange(3) == 1)[:, None]
        check_weights(model, ranks, 4)

    with pytest.raises(TrainingError, match="after epoch 4 the weights of rank 2 are not those of rank 0"):
        simulate(3, run)
    simulate(2, run)
