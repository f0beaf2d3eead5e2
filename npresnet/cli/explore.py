"""Write a web page to look inside a network while it sees an image: one file, which needs no server and no network.

On it one walks through the blocks, looks at the maps of each layer, chooses a pixel and sees the window that it sums
over, with the numbers; and the same backwards, from the score of a class.  Without weights it is the network that
comes with npresnet.

Everything is computed by NumPy's reference ops, and stored in float32.  Of a large network the page holds a few
channels of each layer, and says which; it stays below 15 MB.
"""

import argparse
from typing import Any

from ..printer import say, say_json
from .arguments import (
    add_classes_argument,
    add_json_argument,
    add_model_arguments,
    add_size_argument,
    assume_classes,
    open_model,
)
from .cam import class_of
from .inference import check_classifier
from .output import add_force_argument, check_output
from .stream import set_size

EXAMPLES = """examples:
  npresnet explore cat.jpg
  npresnet explore --example --out cat.html --class cat --class ship
  npresnet explore cat.jpg --weights resnet50-11ad3fa6.pth --out resnet50.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="an image file")
    parser.add_argument("--example", action="store_true", help="the photo of a cat that comes with npresnet")
    parser.add_argument("--out", default="explore.html", metavar="FILE", help="the page (default: explore.html)")
    add_model_arguments(parser)
    add_classes_argument(parser)
    parser.add_argument(
        "--class",
        dest="labels",
        action="append",
        metavar="NAME",
        help="a class whose score is followed back, by its name or number; may be repeated (default: the two most "
        "probable ones)",
    )
    add_size_argument(parser, "the side of the square that the network sees, such as 224")
    add_force_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..explore import write_page
    from ..zoo import shipped

    image = named_image(args)
    check_output(args.out, image, args.weights or shipped(), args.classes, force=args.force)
    model, about = open_model(args.model, args.weights, args.select, args.classes)
    assume_classes(model)
    check_classifier(model)
    set_size(model, args.size)
    classes = [class_of(label, model) for label in args.labels or ()]
    path = write_page(args.out, model, image, classes=list(dict.fromkeys(classes)))
    report = {**about, "out": str(path), "bytes": path.stat().st_size}
    if args.json:
        say_json(report)
    else:
        say(f"{path}: {report['bytes'] / 1e6:.1f} MB; open it in a browser")
    return 0


def named_image(args: argparse.Namespace) -> Any:
    """The image of the command line.  Raises ValueError where there is none, or two."""
    from ..data import example_image

    if (args.image is None) != args.example:
        raise ValueError("name one image (IMAGE), or try --example")
    return example_image() if args.example else args.image
