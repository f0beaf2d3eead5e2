"""The depth experiment of [R1] §4.2: plain and residual networks of growing depth, trained alike.

    python -m npresnet.teaching.depth --data cifar10 --runs runs/depth --out notebooks/data/depth --epochs 10

Writes for each network one JSON file of a few kilobytes: its curves, and the norm of every convolution's gradient on
one fixed batch, at the start and after each epoch.  Started again after a stop, it resumes from the checkpoints in
--runs.

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import ops
from ..data import preprocessing_of
from ..data.batches import Batch, Batches
from ..data.dataset import Dataset, split
from ..data.open_dataset import open_dataset
from ..formats.atomic import atomic_write
from ..nn import Module
from ..printer import note
from ..training.callbacks import Stopped
from ..training.checkpoint import read_checkpoint, restore
from ..training.lock import locked
from ..training.progress import progress_callback
from ..training.recipes import Recipe, recipe
from ..training.trainer import Trainer
from ..zoo import create_model

NETWORKS = ("plain20", "resnet20", "plain56", "resnet56")


def gradient_norms(model: Module, batch: Batch) -> dict[str, float]:
    """‖∂loss/∂W‖ of every convolution, from a copy, so that the model's running statistics stay as they are."""
    copy = model.copy().train()
    logits, pullback = copy.logits_vjp(batch.x, input_grad=False)
    pullback(ops.softmax_cross_entropy(logits, batch.labels)[1]())
    return {
        name: float(f"{np.linalg.norm(parameter.grad):.4g}")
        for name, parameter in copy.named_parameters()
        if parameter.value.ndim == 4 and parameter.grad is not None
    }


def measure(name: str, dataset: Dataset, chosen: Recipe, seed: int, folder: str | Path) -> dict[str, Any]:
    """Train one network, or resume from the checkpoint in ``folder``; the contents of its JSON file."""
    model = create_model(name, num_classes=len(dataset.classes), seed=seed)
    train, held_out = split(dataset, chosen.held_out, seed)
    fixed = next(Batches(train, preprocessing_of(model), 128).in_order())
    start = gradient_norms(model, fixed)
    trainer = Trainer(
        model,
        chosen,
        train,
        held_out,
        seed=seed,
        probe=lambda trainer: {"gradient_norms": list(gradient_norms(trainer.model, fixed).values())},
    )
    with locked(folder), progress_callback() as callback:
        checkpoint = read_checkpoint(folder)
        if checkpoint:
            restore(trainer, checkpoint, folder)
        history = trainer.fit(folder, callback)
    return {
        "model": name,
        "seed": seed,
        "pictures": len(train),
        "recipe": asdict(chosen),
        "history": history,
        "layers": list(start),
        "gradient_norms_at_start": list(start.values()),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="the training images, as for npresnet train")
    parser.add_argument("--out", required=True, help="the folder for <network>.json")
    parser.add_argument("--runs", required=True, help="the folder for the checkpoints")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--held-out", type=float, default=5000)
    parser.add_argument("--limit", type=int, help="train on only this many images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    chosen = recipe("paper-cifar", epochs=args.epochs, held_out=args.held_out)
    dataset, _ = open_dataset(args.data, "cifar10")
    if args.limit:
        dataset = split(dataset, args.limit, args.seed)[1]
    for name in args.networks:
        path = Path(args.out) / f"{name}.json"
        if not path.exists():
            note(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            result = measure(name, dataset, chosen, args.seed, Path(args.runs) / name)
            with atomic_write(path) as file:
                file.write(json.dumps(result).encode())


if __name__ == "__main__":
    try:
        main()
    except Stopped:
        sys.exit("stopped; run the same command to resume")
