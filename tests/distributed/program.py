"""A training run in float64 for the tests: python -m tests.distributed.program FILE [name=value …], under mpiexec."""

import json
import sys
from contextlib import suppress

import numpy as np

from npresnet import create_model, use
from npresnet.data import Preprocessing
from npresnet.distributed import ends_together, world
from npresnet.training import Recipe, Stopped, Trainer, restore
from npresnet.training.callbacks import Callback
from npresnet.training.checkpoint import read_checkpoint
from npresnet.training.run import Totals

from ..support.drawn import drawn_source

RECIPE = {"epochs": 4, "batch_size": 16, "lr": 0.05, "schedule": "cosine", "held_out": 0.0}
MODELS = {  # (name, side of the images, options)
    "small": ("resnet20", 8, {"depths": (1, 1, 1)}),
    "resnet20": ("resnet20", 32, {}),
    "resnet18": ("resnet18", 64, {}),
    "preresnet20": ("preresnet18", 32, {"depths": (2, 2, 2, 2), "width": 16, "stem": "3x3", "pool": "none"}),
}


def train(model="small", count=74, communicator=None, out=None, stop=0, **changes):
    """(a Trainer that has made 20 steps, the last of each epoch on 10 images, the losses of its batches).

    With a folder ``out`` it goes on from the checkpoint there; after ``stop`` batches it stops.
    """
    name, side, options = MODELS[model]
    network = create_model(name, num_classes=3, seed=1, **options).astype(np.float64)
    network.preprocessing = Preprocessing(side, side)
    recipe = Recipe(**{**RECIPE, **changes})
    validation = drawn_source(7, side, seed=1)
    trainer = Trainer(network, recipe, drawn_source(count, side), validation, communicator=communicator)
    losses = Losses(stop)
    if out and (checkpoint := trainer.communicator.broadcast(lambda: read_checkpoint(out))):
        restore(trainer, checkpoint, out)
    with suppress(Stopped):
        trainer.fit(out, losses)
    return trainer, losses.found


class Losses(Callback):
    """Notes the mean loss of each batch, and stops the run after some."""

    def __init__(self, after):
        self.after, self.found, self.seen = after, [], Totals()

    def batch(self, trainer, images_per_second):
        before, self.seen = self.seen if trainer.step > 1 else Totals(), trainer.totals
        self.found.append((self.seen.loss - before.loss) / (self.seen.images - before.images))
        self.stop = 15 * (len(self.found) == self.after)


def main(path, *words):
    ranks = world()
    changes = {name: json.loads(value) for name, _, value in (word.partition("=") for word in words)}
    own = {name: value[ranks.rank] if isinstance(value, list) else value for name, value in changes.items()}
    with ends_together(ranks), use("numpy"):
        trainer, losses = train(communicator=ranks, **own)
        state = {**trainer.model.state_dict(), "losses": np.array(losses)}
        states = ranks.all_gather({key: array.tobytes() for key, array in state.items()})
        assert all(other == states[0] for other in states), "the ranks differ"
        if ranks.rank == 0:
            np.savez(path, size=ranks.size, **state)


if __name__ == "__main__":
    main(*sys.argv[1:])
