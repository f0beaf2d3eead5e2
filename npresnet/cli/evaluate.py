"""Measure a network's accuracy on a dataset of labelled images.

The dataset is a folder of class folders, or of images with a CSV of labels (image,label), a zip of one, such a CSV, or
CIFAR's archive as it is published.  Its classes are matched with the network's by name, by number or in sorted order;
standard error says how.

--jsonl, --csv and --out tell what was predicted for each image, as it comes.  Ctrl-C prints the figures of the images
that are done, marked as interrupted.  Under mpiexec or srun the processes share the images; rank 0 prints what all have
found, in the dataset's order, at the end.
"""

import argparse
import os
from contextlib import nullcontext
from typing import Any

from ..printer import note, say, say_json
from .arguments import (
    add_backend_argument,
    add_classes_argument,
    add_model_arguments,
    add_precision_argument,
    add_size_argument,
    assume_classes,
    backend_context,
    open_network,
    positive,
    usual_size,
)
from .inference import Network, check_choice, probabilities
from .progress import progress
from .ranks import ordered, over_ranks
from .results import add_format_arguments, add_out_argument, check_results, results
from .stream import add_batch_argument, set_size

EXAMPLES = """examples:
  npresnet evaluate --data cifar10-test.zip --weights resnet20-12fca82f.th
  npresnet evaluate --data imagenet/val --weights resnet50-11ad3fa6.pth --limit 1000 --json
  npresnet evaluate --data photos --weights resnet50-11ad3fa6.pth --out predictions.csv

--json prints an object with right, total, top1 and top5 (fractions of 1)."""

COLUMNS = ("image", "class", "predicted", "probability", "right")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="the dataset: a folder or zip of class folders, a CSV of labels, or an archive of CIFAR",
    )
    add_model_arguments(parser)
    add_classes_argument(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="only N images, evenly spaced over the dataset")
    add_size_argument(parser, "the side of the square that the network sees, such as 224")
    add_batch_argument(parser)
    add_backend_argument(parser)
    add_precision_argument(parser)
    add_format_arguments(parser)
    add_out_argument(parser, "write what was predicted for each image: .jsonl or .csv")


def run(args: argparse.Namespace) -> int:
    with over_ranks() as ranks:
        return evaluate(args, ranks)


def evaluate(args: argparse.Namespace, ranks: Any) -> int:
    """Evaluate, each rank on its share of the images."""
    from ..data.open_dataset import open_for_evaluation

    data = open_for_evaluation(args.data)
    check_predictions(args, data)
    model, about = open_network(args.model, args.weights, args.select, args.classes)
    check_choice(model)
    set_size(model, args.size)
    labels, how = matched(data.classes, model)
    note(
        *data.notes,
        f"class folders are matched {how}: {', '.join(data.classes[:10])}" + ", …" * (len(data.classes) > 10),
    )
    found = Found(args, {**about, "matched": how}, model.spec.num_classes)
    try:
        count(args, data, model, labels, found, ranks)
    except KeyboardInterrupt:
        found.report(interrupted=True)
        raise
    found.gather(ranks)
    if ranks.rank == 0:
        found.report()
    return 0


class Found:
    """What has been counted so far, and how it is told."""

    def __init__(self, args: argparse.Namespace, about: dict[str, Any], classes: int):
        self.args, self.about, self.classes, self.total, self.right, self.right5 = args, about, classes, 0, 0, 0

    def add(self, ranks: Any) -> None:
        """Count a batch."""
        self.total += len(ranks)
        self.right, self.right5 = self.right + int((ranks < 1).sum()), self.right5 + int((ranks < 5).sum())

    def gather(self, ranks: Any) -> None:
        """Count what all ranks have found."""
        own = self.total, self.right, self.right5
        self.total, self.right, self.right5 = map(sum, zip(*ranks.all_gather(own)))

    def report(self, **more: Any) -> None:
        """Print the figures: on standard error where standard output holds a line for each image."""
        if not self.total:
            return
        top1, top5 = self.right / self.total, self.right5 / self.total
        if self.args.json:
            say_json({"right": self.right, "total": self.total, "top1": top1, "top5": top5, **self.about, **more})
            return
        tell = note if self.args.jsonl or self.args.csv else say
        begin = "interrupted: " if more else ""
        more_classes = f", top-5 {100 * top5:.2f} %" * (self.classes > 5)  # of five classes it is always 100 %
        tell(f"{begin}right on {self.right} of {self.total}: top-1 {100 * top1:.2f} %{more_classes}")


def count(args: argparse.Namespace, data: Any, model: Any, labels: Any, found: Found, ranks: Any) -> None:
    """Run the network over this rank's images of the dataset and add up what it finds."""
    from ..data.folder import in_batches
    from ..data.share import portion

    (chosen,) = in_batches(len(data), len(data), args.limit)
    data = data.subset(chosen[portion(len(chosen), ranks.rank, ranks.size)])
    wanted = len(data)
    with backend_context(args.backend):
        network = Network(model, images=wanted, backend=args.backend, precision=args.precision)
    size = args.batch or network.largest(*usual_size(model))
    parts, wanted_each = in_batches(len(data), size), args.out or args.jsonl or args.csv
    with ordered(ranks, predictions(args)) as written, progress("evaluating", wanted) as show:
        for part, (x, folders) in zip(parts, data.batches(model, size)):
            scores, truth = network(x), labels[folders]
            found.add(rank(scores, truth))
            for k in range(len(part) if wanted_each else 0):
                written.add(prediction(data, model, part[k], scores[k], int(truth[k])))
            show(found.total)


def prediction(data: Any, model: Any, number: int, scores: Any, truth: int) -> dict[str, Any]:
    """What was predicted for image ``number`` of the dataset."""
    name = data.numbers[number]
    best, names = int(scores.argmax()), model.classes or range(model.spec.num_classes)
    return {
        "image": os.path.join(data.folder.path, data.folder.names[name]) if data.folder else int(name),
        "class": names[truth],
        "predicted": names[best],
        "probability": float(probabilities(scores)[best]),
        "right": best == truth,
    }


def check_predictions(args: argparse.Namespace, data: Any) -> None:
    """Raise, before any work, where --out cannot be written."""
    if args.out and os.path.splitext(args.out)[1].lower() not in (".jsonl", ".csv"):
        raise ValueError(f"{args.out}: predictions are written to a file called .jsonl or .csv")
    images = [os.path.join(data.folder.path, name) for name in data.folder.names] if data.folder else []
    check_results(each_image(args), *images, *filter(os.path.isfile, [args.data]), args.weights)


def each_image(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments without --json, which is about the figures."""
    return argparse.Namespace(**{**vars(args), "json": False})


def predictions(args: argparse.Namespace) -> Any:
    """A context with the :class:`Results` that take what was predicted for each image; None where none are wanted."""
    if not (args.out or args.jsonl or args.csv):
        return nullcontext()
    return results(each_image(args), list, COLUMNS, lambda result: [list(result.values())])


def matched(folders: Any, model: Any) -> tuple[Any, str]:
    """:func:`match_classes` of the data set's classes with the model's, or with ImageNet's where it names none."""
    from ..data import ImageError, match_classes

    unnamed = model.classes
    if assume_classes(model):
        try:
            return match_classes(folders, model.classes, model.spec.num_classes)
        except ImageError:  # other classes than ImageNet's
            model.classes = unnamed
    return match_classes(folders, model.classes, model.spec.num_classes)


def rank(logits: Any, labels: Any) -> Any:
    """(N,) numbers of classes with a higher score than the true one: 0 is right.  The arguments are (N, K) and (N,).

    Of equal scores the first class counts as higher, as in argmax; scores that are not finite rank it last.
    """
    import numpy as np

    truth = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ranks = ((logits > truth) | (logits == truth) & earlier).sum(axis=1)
    return np.where(np.isfinite(logits).all(axis=1), ranks, logits.shape[1])  # NaN compares as "not greater"
