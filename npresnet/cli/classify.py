"""Classify images.

Prints the most probable classes of each image: CIFAR-10's, by the network that comes with npresnet, or those of
--weights.  A checkpoint says which network it holds; give --model where it fits several.  An image that cannot be read
is reported, the others are classified all the same, and the exit status is then 2.  Of a network with a single score
the sigmoid is printed: the probability of what it was trained to detect.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from ..printer import note, say, say_json
from . import complain, one_line
from .arguments import add_backend_argument, add_model_arguments, backend_context, open_model, positive
from .inference import probabilities, scorer
from .progress import progress

EXAMPLES = """examples:
  npresnet classify --example
  npresnet classify cat.jpg
  npresnet classify cat.jpg --weights resnet50-11ad3fa6.pth
  npresnet classify *.png --weights resnet20-12fca82f.th --top 3 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="an image file in any common format")
    parser.add_argument("--example", action="store_true", help="classify the photo of a cat that comes with npresnet")
    add_model_arguments(parser)
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="number of classes to show (default: 5)")
    add_backend_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    from ..data import example_image

    args.images += [example_image()] * args.example
    if not args.images:
        raise ValueError("name the images to classify, or try --example")
    model, about = open_model(args.model, args.weights, args.select)
    with backend_context(args.backend):
        logits, results, failed = scorer(model, len(args.images), args.backend), [], 0
    if model.spec.num_classes == 1:
        note("the network has a single score: its sigmoid is the probability of what it was trained to detect")
    with progress("classifying", len(args.images)) as show:
        for done, image in enumerate(args.images, 1):
            try:
                results.append({"image": image, "predictions": predictions(model, logits, image, args.top)})
            except (ValueError, OSError, MemoryError) as error:
                failed = complain(one_line(error), 2)
            show(done)
    if args.json:
        say_json({**about, "images": results})
    else:
        for result in results:
            say(*as_lines(result, "yes" if model.spec.num_classes == 1 else "class {}"))
    return failed


def predictions(model: Any, logits: Callable[[Any], Any], image: str, top: int) -> list[dict[str, Any]]:
    """The ``top`` most probable classes of one image, best first; ``logits(x)`` are the model's scores."""
    import numpy as np

    from ..data import preprocess

    scores = logits(preprocess(image, model))[0].astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(f"{image}: the scores are not finite numbers; are these weights damaged?")
    p = probabilities(scores)
    best = np.argsort(-p, kind="stable")[:top]
    names = model.classes or [None] * len(p)
    return [{"class": int(k), "name": names[k], "probability": float(p[k])} for k in best]


def as_lines(result: dict[str, Any], unnamed: str) -> Iterator[str]:
    """The classes of one image as text; ``unnamed`` stands for a class without a name, with its number in it."""
    yield result["image"]
    for guess in result["predictions"]:
        yield f"{100 * guess['probability']:6.2f} %  {guess['name'] or unnamed.format(guess['class'])}"
