"""List the networks that can be built, and for which of them weights are published.

Each is a MODEL or --model NAME of the other commands; PATTERN chooses among them, as in "*resnext*".  Dialects are the
published variants of a network, for --dialect and npresnet diff.
"""

import argparse
from fnmatch import fnmatch
from typing import Any

from ..printer import say, say_json
from ..tables import text_lines
from .arguments import add_json_argument

EXAMPLES = """examples:
  npresnet models
  npresnet models "resnet1*"
  npresnet models --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="only names like this one")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..models import DIALECTS, list_models

    names = [name for name in list_models() if fnmatch(name, args.pattern)]
    if not names:
        raise ValueError(f"no network is called {args.pattern!r}; npresnet models lists them all")
    found = [described(name) for name in names]
    if args.json:
        say_json({"models": found, "dialects": list(DIALECTS)})
        return 0
    rows = [("name", "blocks in each stage", "width", "input", "classes", "published weights")]
    rows += [
        (
            model["name"],
            f"{' + '.join(map(str, model['depths']))} {model['block']}",
            "" if (model["groups"], model["base_width"]) == (1, 64) else f"{model['groups']}x{model['base_width']}d",
            "{}x{}".format(*model["size"]),
            str(model["classes"]),
            ", ".join(model["weights"]),
        )
        for model in found
    ]
    say(*text_lines(rows, right={4}), "", f"dialects: {', '.join(DIALECTS)}")
    say("npresnet summary NAME shows the layers, parameters and MACs; npresnet download NAME fetches weights")
    return 0


def described(name: str) -> dict[str, Any]:
    """What the registry and the catalogue know of a network."""
    from ..data import PRESETS
    from ..models.registry import FAMILY
    from ..weights.catalogue import ENTRIES

    entry = FAMILY[name]
    side = PRESETS[entry.preprocessing].crop or 224
    return {
        "name": name,
        "block": entry.build.keywords["block"].__name__,
        "depths": list(entry.build.keywords["depths"]),
        "groups": entry.structure.groups,
        "base_width": entry.structure.base_width,
        "size": [side, side],
        "classes": entry.num_classes,
        "weights": [key for key, published in ENTRIES.items() if published.model == name],
    }
