"""The paper's point, measured: plain against residual networks of growing depth, each with the same budget [R1] §4.2.

    python -m npresnet.teaching.depth --data cifar10 --runs runs/depth --out notebooks/data/depth --epochs 10

For each network one JSON file of a few kilobytes: its curves, and the norm of every convolution's gradient on one fixed
batch, at the start and after each epoch.  Started again after a stop, it goes on where it was; --runs keeps the
checkpoints.

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import ops
from ..data import recipe_of
from ..data.batches import Batches
from ..data.dataset import split
from ..data.open_dataset import open_source
from ..formats.atomic import replacing
from ..printer import note
from ..training.checkpoint import read_checkpoint, restore
from ..training.lock import locked
from ..training.progress import Stopped, watching
from ..training.recipes import recipe
from ..training.trainer import Trainer
from ..zoo import create_model

NETWORKS = ("plain20", "resnet20", "plain56", "resnet56")


def gradient_norms(model, batch) -> dict[str, float]:
    """‖∂loss/∂W‖ of every convolution, from a twin, so that the model's running statistics stay as they are."""
    twin = model.copy().train()
    logits, pullback = twin.logits_vjp(batch.x, input_grad=False)
    pullback(ops.softmax_cross_entropy(logits, batch.labels)[1]())
    return {name: float(f"{np.linalg.norm(box.grad):.4g}") for name, box in twin.named_parameters()
            if box.value.ndim == 4}


def measure(name, source, chosen, seed, folder) -> dict:
    """Train one network, or go on with what ``folder`` holds; what its file says."""
    model = create_model(name, num_classes=len(source.classes), seed=seed)
    train, held_out = split(source, chosen.held_out, seed)
    fixed = next(Batches(train, recipe_of(model), 128).plain())
    start = gradient_norms(model, fixed)
    trainer = Trainer(model, chosen, train, held_out, seed=seed,
                      probe=lambda trainer: {"gradient_norms": list(gradient_norms(trainer.model, fixed).values())})
    with locked(folder), watching() as watch:
        checkpoint = read_checkpoint(folder)
        if checkpoint:
            restore(trainer, checkpoint, folder)
        history = trainer.fit(folder, watch)
    return {"model": name, "seed": seed, "pictures": len(train), "recipe": asdict(chosen), "history": history,
            "layers": list(start), "gradient_norms_at_start": list(start.values())}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="the training pictures, as for npresnet train")
    parser.add_argument("--out", required=True, help="the folder for <network>.json")
    parser.add_argument("--runs", required=True, help="the folder for the checkpoints")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--held-out", type=float, default=5000)
    parser.add_argument("--limit", type=int, help="train on so many pictures only")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    chosen = recipe("paper-cifar", epochs=args.epochs, held_out=args.held_out)
    source, _ = open_source(args.data, "cifar10")
    if args.limit:
        source = split(source, args.limit, args.seed)[1]
    for name in args.networks:
        path = Path(args.out) / f"{name}.json"
        if not path.exists():
            note(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            result = measure(name, source, chosen, args.seed, Path(args.runs) / name)
            with replacing(path) as file:
                file.write(json.dumps(result).encode())


if __name__ == "__main__":
    try:
        main()
    except Stopped:
        sys.exit("stopped; the same command goes on")
