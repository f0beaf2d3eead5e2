"""Classify images.

Prints the most probable classes of each image: CIFAR-10's, by the network that comes with npresnet, or those of
--weights.  A checkpoint says which network it holds; give --model where it fits several.  An image that cannot be read
is reported, the others are classified all the same, and the exit status is then 2.  Of a network with a single score
the sigmoid is printed: the probability of what it was trained to detect.

Each result is printed as soon as it is there; Ctrl-C leaves those that are done.  Under mpiexec or srun the processes
share the images, and the results are printed in their order at the end.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from ..printer import note
from .arguments import (
    add_backend_argument,
    add_classes_argument,
    add_model_arguments,
    add_precision_argument,
    assume_classes,
    backend_context,
    open_network,
    positive,
)
from .inference import Network, check_classifier, probabilities
from .ranks import ordered, over_ranks
from .results import Result, add_format_arguments, add_out_argument, check_results, results, shown
from .stream import Stream, add_image_arguments, set_size

EXAMPLES = """examples:
  npresnet classify --example
  npresnet classify cat.jpg
  npresnet classify photos/ --weights resnet50-11ad3fa6.pth --csv
  npresnet classify *.png --weights resnet20-12fca82f.th --top 3 --json
  find . -name '*.jpg' | npresnet classify - --out classes.jsonl"""

COLUMNS = ("image", "rank", "class", "name", "probability")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_image_arguments(parser)
    add_model_arguments(parser)
    add_classes_argument(parser)
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="number of classes to show (default: 5)")
    add_backend_argument(parser)
    add_precision_argument(parser)
    add_format_arguments(parser)
    add_out_argument(
        parser, "write to a file instead: .txt, .json, .jsonl or .csv; the lines of an interrupted run stay"
    )


def run(args: argparse.Namespace) -> int:
    with over_ranks() as ranks:
        return classify(args, ranks)


def classify(args: argparse.Namespace, ranks: Any) -> int:
    """Classify, each rank its share of the images."""
    stream = Stream(args, ranks=ranks)
    check_results(args, *stream.inputs())
    model, about = open_network(args.model, args.weights, args.select, args.classes)
    assume_classes(model)
    check_classifier(model)
    set_size(model, args.size)
    single = model.spec.num_classes == 1
    if single:
        note("the network has a single score: its sigmoid is the probability of what it was trained to detect")
    unnamed = "yes" if single else "class {}"
    how = (lambda result: as_lines(result, unnamed)), COLUMNS, as_rows, lambda kept: {**about, "images": kept}
    with backend_context(args.backend):
        network = Network(model, images=stream.count, backend=args.backend, precision=args.precision)
    with ordered(ranks, results(args, *how)) as written, shown(args, "classifying", stream.count) as show:
        for image, scores in stream.through(network, model):
            if found := predictions(model, scores, args.top):
                written.add({"image": image.name, "predictions": found})
            else:
                stream.fail(f"{image.name}: the scores are not finite numbers; are these weights damaged?")
            show(stream.done)
    return stream.gather_status(ranks)


def predictions(model: Any, scores: Any, top: int) -> list[dict[str, Any]]:
    """The ``top`` most probable classes of scores (K,), best first; none where the scores are not finite."""
    import numpy as np

    if not np.isfinite(scores).all():
        return []
    p = probabilities(scores)
    best = np.argsort(-p, kind="stable")[:top]
    names = model.classes or [None] * len(p)
    return [{"class": int(k), "name": names[k], "probability": float(p[k])} for k in best]


def as_lines(result: Result, unnamed: str) -> Iterator[str]:
    """The classes of one image as text; ``unnamed`` stands for a class without a name, with its number in it."""
    yield result["image"]
    for guess in result["predictions"]:
        yield f"{100 * guess['probability']:6.2f} %  {guess['name'] or unnamed.format(guess['class'])}"


def as_rows(result: Result) -> Iterator[tuple[Any, ...]]:
    """The classes of one image as rows of :data:`COLUMNS`."""
    for rank, guess in enumerate(result["predictions"], 1):
        yield result["image"], rank, guess["class"], guess["name"], guess["probability"]
