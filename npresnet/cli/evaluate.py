"""Measure a network's accuracy on a dataset of labelled images.

The dataset is a folder of class folders, a zip of one (test/cat/0001.jpg), or CIFAR's archive as it is published.
Its classes are matched with the network's by name, by number or in sorted order; standard error says how.
"""

import argparse
from typing import Any

from ..printer import note, say, say_json
from .arguments import (
    add_alias,
    add_backend_argument,
    add_classes_argument,
    add_model_arguments,
    assume_classes,
    backend_context,
    open_model,
    positive,
)
from .inference import check_choice, scorer
from .progress import progress

EXAMPLES = """examples:
  npresnet evaluate --data cifar10-test.zip --weights resnet20-12fca82f.th
  npresnet evaluate --data imagenet/val --weights resnet50-11ad3fa6.pth --batch 32 --limit 1000 --json

--json prints an object with right, total, top1 and top5 (fractions of 1)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="the dataset: a folder or a zip of class folders, or an archive of CIFAR",
    )
    add_model_arguments(parser)
    add_classes_argument(parser)
    batch = parser.add_argument(
        "--batch", type=positive, default=64, metavar="N", help="images in a batch (default: 64)"
    )
    add_alias(parser, "--batch-size", batch)
    parser.add_argument("--limit", type=positive, metavar="N", help="only N images, evenly spaced over the dataset")
    add_backend_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    from ..data.open_dataset import open_for_evaluation

    data = open_for_evaluation(args.data)
    model, about = open_model(args.model, args.weights, args.select, args.classes)
    check_choice(model)
    labels, how = matched(data.classes, model)
    note(
        *data.notes,
        f"class folders are matched {how}: {', '.join(data.classes[:10])}" + ", …" * (len(data.classes) > 10),
    )
    wanted = min(len(data), args.limit or len(data))
    with backend_context(args.backend):
        logits, total, right, right5 = scorer(model, wanted, args.backend), 0, 0, 0
    with progress("evaluating", wanted) as show:
        for x, folders in data.batches(model, args.batch, limit=args.limit):
            ranks = rank(logits(x), labels[folders])
            total, right, right5 = total + len(ranks), right + int((ranks < 1).sum()), right5 + int((ranks < 5).sum())
            show(total)
    if args.json:
        result = {"right": right, "total": total, "top1": right / total, "top5": right5 / total}
        say_json({**result, **about, "matched": how})
    else:
        say(f"right on {right} of {total}: top-1 {100 * right / total:.2f} %, top-5 {100 * right5 / total:.2f} %")
    return 0


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
