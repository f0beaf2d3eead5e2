"""The paper's point, measured: plain against residual networks of growing depth, each with the same budget [R1] §4.2.

    python -m npresnet.training.depth --data cifar10 --out notebooks/data/depth --epochs 10

For each network one JSON file of a few kilobytes: its curves, and the norm of every convolution's gradient on one fixed
batch, at the start and after each epoch.  A network whose file exists is not trained again.

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
from ..weights.atomic import replacing
from ..zoo import create_model
from .batches import Batches
from .loop import Trainer
from .opening import open_source
from .recipes import recipe
from .sources import split
from .watch import Log

NETWORKS = ("plain20", "resnet20", "plain56", "resnet56")


class GradientLog(Log):
    """A line for each epoch, and the gradient norms on one batch that stays the same."""

    def __init__(self, trainer):
        super().__init__()
        self.fixed = next(Batches(trainer.train, recipe_of(trainer.model), 128).plain())
        self.norms = [gradient_norms(trainer.model, self.fixed)]

    def epoch(self, trainer, row):
        super().epoch(trainer, row)
        self.norms.append(gradient_norms(trainer.model, self.fixed))


def gradient_norms(model, batch) -> dict[str, float]:
    """‖∂loss/∂W‖ of every convolution, from a twin, so that the model's running statistics stay as they are."""
    twin = model.mapped(lambda array: array).train()
    logits, pullback = twin.logits_vjp(batch.x, input_grad=False)
    pullback(ops.softmax_cross_entropy(logits, batch.labels)[1]())
    return {name: float(np.linalg.norm(box.grad)) for name, box in twin.named_parameters() if box.value.ndim == 4}


def measure(name, source, chosen, seed) -> dict:
    """Train one network; what its file holds."""
    model = create_model(name, num_classes=len(source.classes), seed=seed)
    trainer = Trainer(model, chosen, *split(source, chosen.held_out, seed), seed=seed)
    log = GradientLog(trainer)
    history = trainer.fit(watch=log)
    return {"model": name, "seed": seed, "pictures": len(trainer.train), "recipe": asdict(chosen), "history": history,
            "layers": list(log.norms[0]), "gradient_norms": [[float(f"{norm:.4g}") for norm in norms.values()]
                                                             for norms in log.norms]}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="the training pictures, as for npresnet train")
    parser.add_argument("--out", required=True, help="the folder for <network>.json")
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
            print(name, file=sys.stderr)
            path.parent.mkdir(parents=True, exist_ok=True)
            result = measure(name, source, chosen, args.seed)
            with replacing(path) as file:
                file.write(json.dumps(result).encode())


if __name__ == "__main__":
    main()
