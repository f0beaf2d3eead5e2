"""Quantize a network: weights and activations of 8 bits, a quarter of the memory.

IN is any checkpoint that --weights takes elsewhere, DATA some hundred images like those that the network will see: a
folder, with all in it, or a zip.  They show which values each layer gives; 256 levels are laid over these.  The arrays
are written with their scales to --out, for npresnet.load_quantized().  Then both networks are run on other images of
DATA, where it has more than --limit, and each layer's error is told.  An image that cannot be read is reported, the
others are taken all the same, and the exit status is then 2.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from ..printer import note, say, say_json
from . import complain
from .arguments import add_json_argument, add_select_argument, open_model, positive
from .output import add_force_argument, check_output
from .stream import Prepared, batches, preprocessed, reason, set_size, stacked

EXAMPLES = """examples:
  npresnet quantize resnet50-11ad3fa6.pth --data photos --out resnet50-int8.safetensors
  npresnet quantize resnet20-12fca82f.th --data cifar10-train.zip --out small.safetensors --observer mse

--json prints an object with errors (layer: |r − x| / |x|), images, agreement (a fraction of 1), bytes (two numbers)."""

BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a checkpoint")
    parser.add_argument("--data", required=True, metavar="PATH", help="images: a folder or a zip of them")
    parser.add_argument("--out", required=True, metavar="FILE", help="a new file: .safetensors, .npz, .pth or .onnx")
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
    parser.add_argument(
        "--correct-bias",
        action="store_true",
        help="take the mean error of each channel off its bias (few bits gain by it)",
    )
    add_json_argument(parser)
    add_force_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..formats.containers import WRITERS
    from ..quantized import compare, quantize, save_quantized

    if not args.out.lower().endswith((*WRITERS, ".onnx")):
        raise ValueError(f"{args.out}: the file's suffix must be {', '.join(WRITERS)} or .onnx")
    check_output(args.out, args.input, args.data, force=args.force)
    model, _ = open_model(args.model, args.input, args.select)
    set_size(model, None)
    images = Images(args.data, model)
    chosen, others = split(len(images.items), args.limit)
    network = quantize(model, images.batches(chosen), observer=args.observer, correct_bias=args.correct_bias)
    save_quantized(network, args.out)
    if not others:
        note(f"{args.data}: no other images; the errors are those of the images that calibrated (see --limit)")
    report = compare(model, network, images.batches(others or chosen))
    if args.json:
        say_json({**report._asdict(), "model": model.spec.name, "out": args.out})
        return images.status
    say(*str(report).splitlines())
    note(f"{args.out}: {network!r}")
    return images.status


def split(count: int, limit: int) -> tuple[list[int], list[int]]:
    """The numbers of at most ``limit`` images of ``count``, evenly spaced, and of as many of the others."""
    chosen = [k * count // limit for k in range(limit)] if count > limit else list(range(count))
    others = sorted(set(range(count)) - set(chosen))
    return chosen, [others[k * len(others) // limit] for k in range(limit)] if len(others) > limit else others


class Images:
    """The images of --data, preprocessed; what cannot be read is reported in a line, and ``status`` is 2 then."""

    def __init__(self, path: str, model: Any):
        from ..data.image_source import ImageSource

        source = ImageSource([path])
        if source.count is None:
            raise ValueError("--data: name a folder or a zip; the images are looked at twice")
        note(*source.notes)
        self.items, self.model, self.status, self.reported = list(source), model, 0, set[int]()

    def batches(self, numbers: Sequence[int]) -> Iterator[Any]:
        """The images of these numbers, in batches of one shape."""
        for part in batches(self.readable(numbers), lambda x: BATCH):
            yield stacked(part)

    def readable(self, numbers: Sequence[int]) -> Iterator[Prepared]:
        """Those of them that can be read; each of the others is reported once."""
        for number in numbers:
            item = self.items[number]
            try:
                yield Prepared(item.name, *preprocessed(item.open(), self.model))
            except (ValueError, OSError, MemoryError) as error:
                if number not in self.reported:
                    self.status = complain(reason(error, item.name), 2)
                self.reported.add(number)
