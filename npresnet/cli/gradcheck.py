"""Check every gradient of a network against numerical derivatives.

Each layer is checked alone, in float64, on the values that it gets from a random input; each chain and each residual
sum against its theorem; finally the whole network and the loss.  Exit status 1 where a gradient is wrong.
"""

import argparse

from ..printer import say_report
from .arguments import (
    add_backend_argument,
    add_input_arguments,
    add_json_argument,
    cpu_context,
    input_shape,
    only_model,
    positive,
    seed,
)
from .progress import progress

EXAMPLES = """examples:
  npresnet gradcheck resnet20
  npresnet gradcheck resnet50 --layer "layer4.*" --batch 2 --size 64 --eval
  npresnet gradcheck preresnet164 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="MODEL", help="a model's name, such as resnet50")
    parser.add_argument("--model", metavar="NAME", help="the same")
    parser.add_argument(
        "--layer",
        default="*",
        metavar="PATTERN",
        help="only layers of this name, such as layer1.*; layer1.0.* leaves out that block's own sum, "
        "which is called layer1.0",
    )
    add_input_arguments(parser, batch=4)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--train", action="store_true", help="batch norms use the batch's statistics (the default)")
    mode.add_argument("--eval", action="store_true", help="batch norms use their running statistics")
    parser.add_argument("--num-classes", type=positive, metavar="K", help="number of classes")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of the weights, the input and the directions (default: 0)"
    )
    add_backend_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from ..verify.gradcheck import gradcheck
    from ..zoo import create_model

    args.model = only_model(args.what, args.model)
    model = create_model(args.model, num_classes=args.num_classes, seed=args.seed).train(not args.eval)
    shape = input_shape(args, model)
    rng = np.random.default_rng(args.seed)
    x, labels = rng.standard_normal(shape), rng.integers(0, model.spec.num_classes, shape[0])
    with cpu_context("gradcheck", args.backend), progress("checking gradients", unit="layers") as show:
        report = gradcheck(model, x, labels, seed=args.seed, layers=args.layer, show=show)
    if not report.rows:
        raise ValueError(f"no layer of {args.model} is called {args.layer!r}; npresnet summary lists their names")
    say_report(report, args.json)
    return 0 if report else 1
