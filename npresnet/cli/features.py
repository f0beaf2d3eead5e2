"""Write the features of images: what a network finds in them, as numbers.

Of each image it writes what the classifier reads, the features pooled over the image; with --after those after a
layer, such as layer3, averaged over the image, or with --no-pool the whole maps.  Images that look alike to the network
have features that point in the same direction: compare them by the cosine of the angle between them.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ..printer import note
from .arguments import add_backend_argument, add_model_arguments, backend_context, open_model
from .inference import Network
from .output import check_output
from .results import Result, add_format_arguments, add_out_argument, check_results, results, shown
from .stream import Stream, add_image_arguments, set_size

EXAMPLES = """examples:
  npresnet features photos/ --weights resnet50-11ad3fa6.pth --out photos.npz
  npresnet features photos/ --weights resnet50-11ad3fa6.pth --after layer3 --out photos.csv
  npresnet features cat.jpg | jq .features

A .npz holds the arrays "names" and "features", a .npy the features alone; both are written at the end, or when Ctrl-C
ends the run.  .jsonl and .csv are written line by line."""

ARRAYS = (".npz", ".npy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_image_arguments(parser)
    add_model_arguments(parser)
    parser.add_argument("--after", metavar="LAYER", help="the layer whose output is taken (default: the pooling)")
    parser.add_argument("--no-pool", action="store_true", help="with --after: do not average over the image")
    add_backend_argument(parser)
    add_format_arguments(parser, ("jsonl", "csv"))
    add_out_argument(parser, "write to a file instead: .npz, .npy, .jsonl or .csv")


def run(args: argparse.Namespace) -> int:
    arrays = wants_arrays(args)
    stream = Stream(args)
    check_output_of(args, arrays, stream.inputs())
    model, _ = open_model(args.model, args.weights, args.select)
    set_size(model, args.size)
    backend = args.backend or ("numpy" if args.after and inside_a_step(model, args.after) else None)
    with backend_context(backend):
        network = Network(model, partial(rows, args), stream.count, backend)
    if arrays:
        with shown(args, "reading features", stream.count) as show:
            write_arrays(args.out, pairs(stream, network, model, show))
        return stream.status
    how = list, columns, lambda result: [(result["image"], *result["features"])]
    with results(args, *how, default="jsonl") as written, shown(args, "reading features", stream.count) as show:
        for name, row in pairs(stream, network, model, show):
            written.add({"image": name, "features": numbers(row)})
    return stream.status


def wants_arrays(args: argparse.Namespace) -> bool:
    """Whether arrays are to be written, and not lines.  Raises ValueError for options that contradict each other."""
    suffix = os.path.splitext(args.out or "")[1].lower()
    if args.no_pool and not args.after:
        raise ValueError("--no-pool keeps the maps after a layer: name it with --after LAYER")
    if args.no_pool and (args.csv or suffix == ".csv"):
        raise ValueError("a line of CSV has no place for maps: leave --no-pool away, or write .npz or .jsonl")
    if suffix in ARRAYS and (args.jsonl or args.csv):
        raise ValueError(f"--jsonl or --csv and --out {args.out} are two formats: choose one")
    if args.out and suffix not in (*ARRAYS, ".jsonl", ".csv"):
        raise ValueError(f"{args.out}: features are written to a file called .npz, .npy, .jsonl or .csv")
    return suffix in ARRAYS


def check_output_of(args: argparse.Namespace, arrays: bool, inputs: Sequence[str | None]) -> None:
    """Raise, before any work, where --out cannot or must not be written."""
    if arrays:
        check_output(args.out, *inputs, force=args.force)
    else:
        check_results(args, *inputs)


def rows(args: argparse.Namespace, network: Any, x: Any) -> Any:
    """The features of images x: (N, C), or the maps (N, C, H, W)."""
    from ..analysis.features import features

    found = features(network, x, args.after)
    return found if args.no_pool or found.ndim == 2 else found.mean(axis=(2, 3))


def inside_a_step(model: Any, after: str) -> bool:
    """Whether the engine joins the layer with those that follow it, so that the model itself must tell its output."""
    from ..engine.graph import fuse, lower

    return not any(after in node.names for node in fuse(lower(model)))


def pairs(stream: Stream, network: Network, model: Any, show: Any) -> Iterator[tuple[str, Any]]:
    """(name, features) of each image."""
    for image, row in stream.through(network, model):
        yield image.name, row
        show(stream.done)


def columns(result: Result) -> tuple[Any, ...]:
    """The header of CSV."""
    return "image", *range(len(result["features"]))


def numbers(array: Any) -> list[Any]:
    """An array of float32 as lists of Python's numbers, with no more digits than it has."""
    return array.astype(str).astype(float).tolist()


def write_arrays(path: str, found: Iterator[tuple[str, Any]]) -> None:
    """Write the features of all images at the end, also where a person interrupts."""
    kept: list[tuple[str, Any]] = []
    try:
        for pair in found:
            kept.append(pair)
    finally:
        if kept:
            save(path, *zip(*kept))


def save(path: str, names: tuple[str, ...], features: tuple[Any, ...]) -> None:
    """Write names and features, one row each, whole or not at all."""
    import numpy as np

    from ..formats.atomic import atomic_write

    if len(shapes := {row.shape for row in features}) > 1:
        raise ValueError(f"{path}: the features of these images have several shapes, {sorted(shapes)}: write .jsonl")
    table = np.stack(features)
    with atomic_write(path) as file:
        if path.lower().endswith(".npy"):
            np.save(file, table)
        else:
            np.savez(file, names=np.array(names), features=table)
    note(f"{len(names)} images, features of shape {table.shape[1:]}, written to {path}")
