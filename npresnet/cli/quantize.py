"""Quantize a network: weights and activations of 8 bits, a quarter of the memory.

IN is any checkpoint that --weights takes elsewhere, DATA some hundred images like those that the network will see: a
folder, with all in it, or a zip.  They show which values each layer gives; 256 levels are laid over these.  The arrays
are written with their scales to --out, for npresnet.load_quantized().  Then both networks are run on other images of
DATA, and each layer's error is told.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ..printer import note, say, say_json
from .arguments import add_json_argument, add_select_argument, open_model, positive
from .output import add_force_argument, check_output
from .stream import set_size

EXAMPLES = """examples:
  npresnet quantize resnet50-11ad3fa6.pth --data photos --out resnet50-int8.safetensors
  npresnet quantize resnet20-12fca82f.th --data cifar10-train.zip --out small.safetensors --observer mse

--json prints an object with errors (layer: |r − x| / |x|), images, agreement (a fraction of 1), bytes (two numbers)."""

BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a checkpoint")
    parser.add_argument("--data", required=True, metavar="PATH", help="images: a folder or a zip of them")
    parser.add_argument("--out", required=True, metavar="FILE", help="a new file: .safetensors, .npz or .pth")
    parser.add_argument("--model", metavar="NAME", help="the network in IN, where the checkpoint does not say it")
    add_select_argument(parser)
    parser.add_argument(
        "--limit",
        type=positive,
        default=256,
        metavar="N",
        help="only N images, evenly spaced over the dataset (default: 256)",
    )
    parser.add_argument(
        "--observer",
        choices=("minmax", "average", "percentile", "mse"),
        default="minmax",
        metavar="NAME",
        help="how a layer's range is found: minmax, average, percentile or mse (default: minmax)",
    )
    add_json_argument(parser)
    add_force_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..formats.containers import WRITERS
    from ..quantized import compare, quantize, save_quantized

    if not args.out.lower().endswith(tuple(WRITERS)):
        raise ValueError(f"{args.out}: the file's suffix must be {', '.join(WRITERS)}")
    check_output(args.out, args.input, args.data, force=args.force)
    model, _ = open_model(args.model, args.input, args.select)
    set_size(model, None)
    network = quantize(model, batches(args, model), observer=args.observer)
    save_quantized(network, args.out)
    report = compare(model, network, batches(args, model, other=True))
    if args.json:
        say_json({**report._asdict(), "model": model.spec.name, "out": args.out})
        return 0
    say(*str(report).splitlines())
    note(f"{args.out}: {network!r}")
    return 0


def batches(args: argparse.Namespace, model: Any, other: bool = False) -> Iterator[Any]:
    """Some of the images, evenly spaced, preprocessed and in batches; with ``other`` those between them."""
    import numpy as np

    from ..data import preprocess
    from ..data.image_source import ImageSource

    source = ImageSource([args.data])
    step = max(1, (source.count or 0) // args.limit)
    items = islice(source, step // 2 if other else 0, step * args.limit, step)
    while part := [preprocess(item.open(), model)[0] for item in islice(items, BATCH)]:
        yield np.stack(part)
