"""Compare npresnet's results with PyTorch's.

Without --weights: with stored results of PyTorch for every option of every op, every architecture and every detail of
the dialects; needs no torch.  With --weights: with the installed PyTorch, the logits, loss, gradients and running
statistics of your own checkpoint.  Exit status 1 where anything differs by more than its tolerance.
"""

import argparse

from ..printer import say_report
from .arguments import BACKENDS, add_alias, add_json_argument, add_model_arguments, open_model, parse_size
from .progress import progress

EXAMPLES = """examples:
  npresnet verify
  npresnet verify --backend numba --only "resnet50*"
  npresnet verify --weights resnet20-12fca82f.th --model resnet20"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_arguments(parser, without="compare with the stored results")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        metavar="NAME",
        default="numpy",
        help="what computes npresnet's results: numpy, numba or cupy (default: numpy)",
    )
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="only the stored cases of this name, such as conv2d*"
    )
    size = parser.add_argument(
        "--size",
        type=parse_size,
        default=(64, 64),
        metavar="HxW",
        help="with --weights: height and width of the images (default: 64)",
    )
    add_alias(parser, "--side", size)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..verify.golden import verify, verify_model

    if args.model and not args.weights:
        raise ValueError("--model needs --weights; --only chooses among the stored results")
    if args.weights:
        from ..backend import use
        from ..verify.torch_model import import_torch

        import_torch()  # say what is missing before reading anything
        if args.backend == "cupy":
            raise ValueError("--weights compares on the CPU: choose --backend numpy or numba")
        model, about = open_model(args.model, args.weights, args.select)
        with use(args.backend):
            report = verify_model(model, about["model"], args.size)
    else:
        with progress("verifying", unit="comparisons") as show:
            report = verify(args.backend, args.only, show=show)
        if not report.rows:
            raise ValueError(f'no case is called {args.only!r}; --only "*" lists them all')
    say_report(report, args.json)
    return 0 if report else 1
