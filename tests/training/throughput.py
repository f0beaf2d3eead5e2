"""How much of the bare training step's speed the whole loop keeps: python -m tests.training.throughput

The bare step trains on one batch again and again; the loop orders, augments, normalizes and counts besides.  Both
alternate, so that a busy machine slows them alike, and the medians are compared.
"""

import argparse
import time
from statistics import median

import numpy as np

from npresnet import create_model, use
from npresnet.training import Source, Trainer, recipe


def bare(trainer, batch, steps):
    """Images a second of vjp, loss, pullback and update, nothing else."""
    from npresnet import ops
    model, started = trainer.model.train(), time.perf_counter()
    for _ in range(steps):
        model.zero_grad()
        logits, pullback = model.logits_vjp(batch.x, input_grad=False)
        pullback(ops.softmax_cross_entropy(logits, batch.labels)[1]())
        trainer.optimizer.step(1e-3)
    return steps * len(batch.labels) / (time.perf_counter() - started)


def whole(trainer, epoch):
    """Images a second of the loop."""
    trainer.epoch, trainer.step, trainer.totals = epoch, 0, [0.0, 0, 0]
    started = time.perf_counter()
    for batch in trainer.batches.epoch(epoch):
        trainer.totals = [a + b for a, b in zip(trainer.totals, trainer.update(batch))]
        trainer.step += 1
    return trainer.totals[2] / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--steps", type=int, default=8, help="of each, a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="numba")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (128 * args.steps, 32, 32, 3)).astype(np.uint8)
    source = Source(rng.integers(0, 10, len(pixels)), [str(k) for k in range(10)], pixels=pixels)
    trainer = Trainer(create_model(args.model), recipe("fast-cifar", lr=1e-3), source)
    batch = next(trainer.batches.epoch(0))
    speeds = []
    with use(args.backend):
        bare(trainer, batch, 2)                                          # compiled and warm
        for epoch in range(args.rounds):
            speeds.append((bare(trainer, batch, args.steps), whole(trainer, epoch)))
            print("bare {:7.1f}   loop {:7.1f} images/s".format(*speeds[-1]))
    print(f"the loop keeps {median(loop for _, loop in speeds) / median(step for step, _ in speeds):.3f}")


if __name__ == "__main__":
    main()
