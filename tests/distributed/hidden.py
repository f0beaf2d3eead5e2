"""Prints how long the sums of resnet18's gradients take by themselves, and how long a step waits for them: medians."""

import json
import time

import numpy as np

from npresnet import create_model, use
from npresnet.data import Preprocessing
from npresnet.distributed import threads_of_rank, world
from npresnet.distributed.measured import Measured
from npresnet.training import Recipe, Trainer

from ..support.drawn import drawn_source


def main(side=128, batch=16, steps=10):
    ranks, exposed, alone = Measured(world()), [], []
    model = create_model("resnet18", num_classes=3)
    model.preprocessing = Preprocessing(side, side)
    recipe = Recipe(epochs=1, batch_size=batch, augment="none")
    trainer = Trainer(model, recipe, drawn_source(batch, side), communicator=ranks)
    model.train()
    gradients, (given,) = trainer.update.gradients, trainer.batches.epoch(0)
    finish = gradients.finish

    def timed():
        before = ranks.waited
        finish()
        exposed.append(ranks.waited - before)

    gradients.finish = timed
    with use("numba", threads_of_rank(ranks)):
        for _ in range(3 + steps):  # the third runs what the second has recorded
            trainer.update(given)
    for _ in range(steps):
        ranks.barrier()
        began = time.perf_counter()
        for bucket in gradients.buckets:
            ranks.ranks.start_all_reduce(bucket.flat).wait()
        alone.append(time.perf_counter() - began)
    if ranks.rank == 0:
        print(json.dumps({"alone": np.median(alone), "exposed": np.median(exposed[3:])}))


if __name__ == "__main__":
    main()
