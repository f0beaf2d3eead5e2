"""A training run in float64 for the tests: python -m tests.distributed.program FILE [name=value …], under mpiexec."""

import json
import sys

import numpy as np

from npresnet import create_model, use
from npresnet.data import Preprocessing
from npresnet.distributed import world
from npresnet.training import Recipe, Trainer
from npresnet.training.callbacks import Callback
from npresnet.training.run import Totals

from ..support.drawn import drawn_source

RECIPE = {"epochs": 4, "batch_size": 16, "lr": 0.05, "schedule": "cosine", "held_out": 0.0}
MODELS = {  # (name, side of the images, options)
    "small": ("resnet20", 8, {"depths": (1, 1, 1)}),
    "resnet20": ("resnet20", 32, {}),
    "resnet18": ("resnet18", 64, {}),
    "preresnet20": ("preresnet18", 32, {"depths": (2, 2, 2, 2), "width": 16, "stem": "3x3", "pool": "none"}),
}


def train(model="small", count=74, communicator=None, **changes):
    """A Trainer that has made 20 steps, the last of each epoch on 10 images."""
    name, side, options = MODELS[model]
    network = create_model(name, num_classes=3, seed=1, **options).astype(np.float64)
    network.preprocessing = Preprocessing(side, side)
    recipe = Recipe(**{**RECIPE, **changes})
    trainer = Trainer(
        network, recipe, drawn_source(count, side), drawn_source(7, side, seed=1), communicator=communicator
    )
    losses = Losses()
    with use("numpy"):
        trainer.fit(callback=losses)
    return trainer, losses.found


class Losses(Callback):
    """Notes the mean loss of each batch."""

    def __init__(self):
        self.found, self.seen = [], Totals()

    def batch(self, trainer, images_per_second):
        before, self.seen = self.seen if trainer.step > 1 else Totals(), trainer.totals
        self.found.append((self.seen.loss - before.loss) / (self.seen.images - before.images))


def main(path, *words):
    ranks = world()
    changes = {name: json.loads(value) for name, _, value in (word.partition("=") for word in words)}
    trainer, losses = train(communicator=ranks, **changes)
    state = {**trainer.model.state_dict(), "losses": np.array(losses)}
    states = ranks.all_gather({key: array.tobytes() for key, array in state.items()})
    assert all(other == states[0] for other in states), "the ranks differ"
    if ranks.rank == 0:
        np.savez(path, size=ranks.size, **state)


if __name__ == "__main__":
    main(*sys.argv[1:])
