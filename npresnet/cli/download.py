"""Fetch published weights or a dataset, or list them.

The file is checked against its SHA-256 and gets its name only when it is right; an interrupted download goes on where
it stopped.  No other command uses the network.

cifar10 and cifar100 are datasets: their archive comes into a folder of that name, which --data takes elsewhere.

hf:OWNER/NAME, or hf:OWNER/NAME@REVISION, is a network of the Hugging Face Hub: its configuration and its weights come
into the folder DIR/NAME, which --weights takes elsewhere.  This needs huggingface_hub: pip install 'npresnet[hub]'.
"""

import argparse
import os
import sys

from ..printer import note, say, say_json
from ..tables import text_lines
from .arguments import add_alias, open_model
from .output import check_output
from .progress import progress

EXAMPLES = """examples:
  npresnet download                           list what there is
  npresnet download resnet50:V2 --out models  (resnet50 alone means V1)
  npresnet download cifar10                   for npresnet train --data cifar10
  npresnet download hf:timm/resnet50.a1_in1k
  npresnet download hf:microsoft/resnet-50@main --out models"""

KEYS = ("file", "url", "parameters", "dataset", "top1", "top5", "preprocessing", "images", "sha256_prefix")  # of --json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to fetch; without a name all are listed")
    out = parser.add_argument(
        "--out", metavar="DIR", help="the folder to write into (default: this one; for a dataset, one of its name)"
    )
    add_alias(parser, "--to", out)
    parser.add_argument("--mirror", metavar="URL", help="fetch from this address instead")
    parser.add_argument("--force", action="store_true", help="replace a file of that name with other bytes")
    parser.add_argument("--json", action="store_true", help="list as JSON")


def run(args: argparse.Namespace) -> int:
    if args.name is None:
        return show_catalogue(args.json)
    from ..weights import download
    from ..weights.catalogue import DATASETS, find_file

    if args.name.startswith("hf:"):
        return fetch_from_hub(args.name, args.out or ".", args.mirror, args.force)
    folder = args.out or (args.name.lower() if args.name.lower() in DATASETS else ".")
    check_target(args.name, folder, args.force)
    with progress(args.name, unit="bytes") as show:
        path = download(args.name, folder, show, base_url=args.mirror)
    say(path)
    if not find_file(args.name).sha256:
        note(
            "npresnet: note: of its SHA-256 only the first 8 hex digits are known and were checked, which shows "
            "damage and no forgery"
        )
    return 0


def fetch_from_hub(name: str, folder: str, mirror: str | None, force: bool) -> int:
    """Fetch a network of the Hub, and say what it is."""
    from ..data import preprocessing_of
    from ..weights.hub import download_hub

    path = download_hub(name, folder, endpoint=mirror, force=force, quiet=not sys.stderr.isatty())
    say(path)
    model, _ = open_model(None, str(path))
    images = preprocessing_of(model)
    note(
        f"  classes: {', '.join(model.classes[:5])}, …" if model.classes else "  the classes have no names",
        f"  images: short side {images.resize}, centre {images.crop}, {images.interpolation}, {images.channels}, "
        f"mean {images.mean}, std {images.std}",
    )
    return 0


def check_target(name: str, folder: str, force: bool) -> None:
    """Raise FileExistsError for a file of that name with other bytes than the published ones, without --force."""
    from ..weights import catalogue
    from ..weights.download import verified

    entry = catalogue.find_file(name)
    path = os.path.join(folder, entry.file)
    if os.path.lexists(path) and not (os.path.isfile(path) and verified(path, entry)):
        check_output(path, force=force)


def show_catalogue(as_json: bool) -> int:
    """Print one line for each published file."""
    from ..weights.catalogue import DATASETS, ENTRIES

    if as_json:
        say_json(
            [
                {"name": name, **{key: getattr(entry, key, None) for key in KEYS}}
                for name, entry in {**ENTRIES, **DATASETS}.items()
            ]
        )
        return 0
    rows = [("name", "file", "parameters", "data", "top-1")]
    rows += [
        (name, entry.file, f"{entry.parameters:,}", entry.dataset, f"{entry.top1:.2f}")
        for name, entry in ENTRIES.items()
    ]
    datasets = [("dataset", "file", "images", "MB")]
    datasets += [
        (name, entry.file, f"{entry.images:,}", f"{entry.bytes / 1e6:.0f}") for name, entry in DATASETS.items()
    ]
    say(*text_lines(rows, right={2, 4}), "", *text_lines(datasets, right={2, 3}))
    return 0
