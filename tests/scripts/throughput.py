"""How much of the bare training step's speed the whole loop keeps: python -m tests.scripts.throughput

The bare step trains on one batch again and again; the loop orders, augments, normalizes and counts besides.  Both
alternate, so that a busy machine slows them alike, and medians are compared: of the time that passed, and of the time
that the cores worked for this process, which other processes touch less.  With --backend cupy the bare step is a graph,
and the time includes the wait for its end.
"""

import argparse
import time
from statistics import median

import numpy as np

from npresnet import create_model, ops
from npresnet.cli.arguments import backend_context, on_backend
from npresnet.training import Dataset, Trainer, recipe
from npresnet.training.cuda_step import GraphStep


def bare(trainer, batch, steps):
    """vjp, loss, pullback and update, nothing else."""
    model = trainer.model.train()
    if isinstance(trainer.update, GraphStep):
        for _ in range(steps):
            trainer.update(batch)
        return trainer.totals
    for _ in range(steps):
        model.zero_grad()
        logits, pullback = model.logits_vjp(batch.x, input_grad=False)
        pullback(ops.softmax_cross_entropy(logits, batch.labels)[1]())
        trainer.optimizer.step(1e-3)


def whole(trainer, epoch):
    """An epoch as the loop runs it."""
    trainer.epoch, trainer.step, trainer.totals = epoch, 0, [0.0, 0, 0]
    for batch in trainer.batches.epoch(epoch):
        trainer.update(batch)
        trainer.step += 1
    return trainer.totals


def clocked(function, *args):
    """(seconds that passed, seconds that cores worked)"""
    passed, worked = time.perf_counter(), time.process_time()
    function(*args)
    return time.perf_counter() - passed, time.process_time() - worked


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--steps", type=int, default=8, help="of each, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="numba")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (128 * args.steps, 32, 32, 3)).astype(np.uint8)
    source = Dataset(rng.integers(0, 10, len(pixels)), [str(k) for k in range(10)], pixels=pixels)
    with backend_context(args.backend):
        (model,) = on_backend(args.backend, create_model(args.model))
        trainer = Trainer(model, recipe("fast-cifar", lr=1e-3), source)
        batch, rows = next(trainer.batches.epoch(0)), []
        bare(trainer, batch, 2)  # compiled and warm
        for epoch in range(args.rounds):
            rows.append(clocked(bare, trainer, batch, args.steps) + clocked(whole, trainer, epoch))
            print("bare {:6.2f} s ({:6.2f} s of cores)   loop {:6.2f} s ({:6.2f} s)".format(*rows[-1]), flush=True)
    bare_passed, bare_worked, passed, worked = (median(column) for column in zip(*rows))
    print(
        f"{len(pixels) / passed:.0f} images/s; the loop keeps {bare_passed / passed:.3f} of the bare step's speed, "
        f"{bare_worked / worked:.3f} by the cores' time"
    )


if __name__ == "__main__":
    main()
