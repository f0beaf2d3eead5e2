"""The depth experiment of [R1] §4.2: plain and residual networks of growing depth, trained alike.

    python -m npresnet.teaching.depth --data cifar10 --runs runs/depth --out notebooks/data/depth --epochs 10

Writes for each network one JSON file of a few kilobytes: its curves, and the norm of every convolution's gradient on
one fixed batch, at the start and after each epoch.  Started again after a stop, it resumes from the checkpoints in
--runs.

It can be made small: --side 16 halves the images' sides, which takes a quarter of the time, --limit takes fewer
of them, and --data photos needs no download: it tells patches of ten photos apart (:func:`photo_patches`).

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import ops
from ..data import preprocessing_of
from ..data.batches import Batch, Batches
from ..data.dataset import Dataset, split
from ..data.open_dataset import open_dataset
from ..formats.atomic import atomic_write
from ..models.classifier import Classifier
from ..nn import Module, zero_last_gamma
from ..printer import note
from ..training.callbacks import Stopped
from ..training.checkpoint import read_checkpoint, restore
from ..training.lock import locked
from ..training.progress import progress_callback
from ..training.recipes import Recipe, recipe
from ..training.trainer import Trainer
from ..zoo import create_model
from .photos import PHOTOS, photo_patches

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


def resized(dataset: Dataset, side: int) -> Dataset:
    """The same images with ``side`` pixels a side, each the mean of those that it replaces."""
    if dataset.pixels.shape[1:3] == (side, side):
        return dataset
    images = (Image.fromarray(pixels) for pixels in dataset.read(np.arange(len(dataset))))
    pixels = np.stack([np.asarray(image.resize((side, side), Image.Resampling.BOX)) for image in images])
    return Dataset(dataset.labels, dataset.classes, pixels=pixels)


def opened(data: str, side: int) -> Dataset:
    """The training images of that side: those of ``npresnet train --data``, or patches of the lessons' photos."""
    if data == "photos":
        pixels, labels = photo_patches(2000, side)
        return Dataset(labels, PHOTOS, pixels=pixels)
    return resized(open_dataset(data, "cifar10")[0], side)


def network(name: str, dataset: Dataset, seed: int, width: int, zero_gamma: bool) -> Classifier:
    """A network of the family for these images, with its initial weights."""
    side = dataset.pixels.shape[1]
    model = create_model(name, num_classes=len(dataset.classes), seed=seed, width=width)
    model.preprocessing = replace(preprocessing_of(model), resize=side, crop=side)
    return zero_last_gamma(model) if zero_gamma else model


def measure(model: Classifier, dataset: Dataset, chosen: Recipe, seed: int, folder: str | Path) -> dict[str, Any]:
    """Train one network, or resume from the checkpoint in ``folder``; the contents of its JSON file."""
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
        "model": model.spec.name,
        "options": model.spec.options,
        "seed": seed,
        "images": len(train),
        "side": dataset.pixels.shape[1],
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
    parser.add_argument("--recipe", default="paper-cifar", help="a recipe of npresnet train")
    parser.add_argument("--batch-size", type=int, help="images in a step, if not the recipe's")
    parser.add_argument("--lr", type=float, help="peak learning rate, if not the recipe's")
    parser.add_argument("--side", type=int, default=32, help="make the images this small")
    parser.add_argument("--width", type=int, default=16, help="channels of the networks' first stage")
    parser.add_argument("--held-out", type=float, default=5000)
    parser.add_argument("--limit", type=int, help="train on only this many images")
    parser.add_argument("--zero-gamma", action="store_true", help="begin with γ = 0 at the end of each branch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    given = {name: getattr(args, name) for name in ("batch_size", "lr") if getattr(args, name) is not None}
    chosen = recipe(args.recipe, epochs=args.epochs, held_out=args.held_out, **given)
    dataset = opened(args.data, args.side)
    if args.limit:
        dataset = split(dataset, args.limit, args.seed)[1]
    for name in args.networks:
        path = Path(args.out) / f"{name}.json"
        if not path.exists():
            note(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            model = network(name, dataset, args.seed, args.width, args.zero_gamma)
            result = measure(model, dataset, chosen, args.seed, Path(args.runs) / name)
            with atomic_write(path) as file:
                file.write(json.dumps(result).encode())


if __name__ == "__main__":
    try:
        main()
    except Stopped:
        sys.exit("stopped; run the same command to resume")
