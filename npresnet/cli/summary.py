"""Show a network layer by layer: kernel, input and output shapes, parameters, MACs and FLOPs, memory.

Needs no weights: a model's name is enough.  With a checkpoint, as MODEL or --weights FILE, that says which network
it holds; standard error says how that was found, and which other networks lie in the file: --select takes one of them.
--time runs the network too, and shows each layer's time.
"""

import argparse
import os
import sys
from typing import Any

from ..printer import draw, escaped, say, say_report
from .arguments import (
    add_input_arguments,
    add_json_argument,
    add_model_arguments,
    input_shape,
    only_model,
    open_model,
    positive,
)

EXAMPLES = """examples:
  npresnet summary resnet50
  npresnet summary resnet18 --batch 32 --size 160 --num-classes 10
  npresnet summary resnet50 --dialect keras --time
  npresnet summary resnet20-12fca82f.th --json
  npresnet summary checkpoint.pth --select ema"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="MODEL", help="a model's name, such as resnet50, or a checkpoint")
    add_model_arguments(parser, without="none; only shapes count")
    add_input_arguments(parser, batch=1)
    parser.add_argument("--num-classes", type=positive, metavar="K", help="number of classes, without --weights")
    parser.add_argument(
        "--dialect",
        default="torchvision",
        metavar="NAME",
        help="the published variant of the network (default: torchvision)",
    )
    parser.add_argument("--time", action="store_true", help="measure the time of each layer")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..analysis.summary import summary

    if args.what and is_file(args.what):
        if args.weights:
            raise ValueError(f"two checkpoints are named, {args.what} and {args.weights}; give one")
        args.weights = args.what
    elif args.what:
        args.model = only_model(args.what, args.model)
    if args.weights and args.num_classes:
        raise ValueError("--weights tells the number of classes; leave out --num-classes")
    if args.weights and args.dialect != "torchvision":
        raise ValueError("--weights tells the dialect; leave out --dialect")
    model = (
        open_model(args.model, args.weights, args.select)[0]
        if args.weights
        else named(args.model, args.num_classes, args.dialect)
    )
    table = summary(model, input_shape(args, model), measure=args.time)
    if sys.stdout.isatty() and not args.json:
        show(table)
    else:
        say_report(table, args.json)
    return 0


def is_file(name: str) -> bool:
    """Whether it is a file or a folder, and not a model's name."""
    from ..models import list_models

    return name not in list_models() and os.path.exists(name)


def named(name: str | None, num_classes: int | None, dialect: str) -> Any:
    """The network ``name`` with all weights zero."""
    from ..models import build, list_models

    if name is None:
        raise ValueError(f"name a model or give --weights FILE; the models are {', '.join(list_models())}")
    return build(name, num_classes, dialect=dialect)


def show(table: Any) -> None:
    """Draw the table on a terminal."""
    from rich.table import Table

    from ..analysis.summary import TEXT_COLUMNS

    header, *body = table.cells()
    grid = Table(title=escaped(table.title))
    for i, name in enumerate(header):
        grid.add_column(name, justify="left" if i < TEXT_COLUMNS else "right")
    for line in body:
        grid.add_row(*map(escaped, line))
    draw(grid)
    say(*table.totals())
