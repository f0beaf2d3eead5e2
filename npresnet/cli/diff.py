"""Show how two dialects (published variants) of a network differ: in details, layers and numbers.

A and B are dialects: torchvision, paper, caffe, keras, timm, huggingface, keras-tutorial-a, keras-tutorial-b,
pytorch-tutorial.  The effect of a detail is how far the scores move when it alone changes: an untrained network, the
same weights, the same random image.  Needs no files.  The exit status is 1 where they differ, like that of diff.
"""

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any

from ..printer import say, say_json
from ..tables import text_lines
from .arguments import add_backend_argument, add_json_argument, cpu_context
from .progress import progress

EXAMPLES = """examples:
  npresnet diff keras torchvision
  npresnet diff caffe paper --model resnet101
  npresnet diff timm huggingface --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a dialect")
    parser.add_argument("b", metavar="B", help="another dialect")
    parser.add_argument("--model", default="resnet50", metavar="NAME", help="the network (default: resnet50)")
    add_backend_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..analysis.diff import diff

    with cpu_context("diff", args.backend), progress("comparing", unit="details") as show:
        found = diff(args.a, args.b, args.model, show=show)
    if args.json:
        say_json(found.to_dict())
    else:
        say(*"\n".join(lines(found)).split("\n"))
    return 1 if found.details else 0


def lines(found: Any) -> Iterator[str]:
    """The comparison as text."""
    yield f"{found.model}: {found.a} against {found.b}"
    if not found.details:
        yield "No detail differs: the same weights give the same numbers."
        return
    yield from ("", f"What differs ({found.a} → {found.b})")
    for detail in found.details:
        yield f"\n  {detail.field}: {detail.a} → {detail.b}{effect_text(detail)}"
        yield textwrap.fill(detail.meaning, 100, initial_indent="    ", subsequent_indent="    ")
        if detail.field == "preprocessing":
            yield from (f"    {preprocessing_text(preset)}" for preset in (detail.a, detail.b))
    yield from ("", "Layer by layer")
    for names, what, a, b in found.layers:
        yield f"  {what}: {a} → {b}"
        yield textwrap.fill(names_text(names), 100, initial_indent="    ", subsequent_indent="    ")
    yield from ("", "In numbers")
    rows = [(what, f"{a:,}", "→", f"{b:,}", "" if a != b else "the same") for what, a, b in found.numbers]
    yield from (f"  {line}" for line in text_lines(rows, right={1, 3}))
    yield "  " + output_text(found)


def names_text(names: list[str], most: int = 8) -> str:
    """The first names, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def effect_text(detail: Any) -> str:
    """How far the scores move with this detail alone; nothing where that was not measured."""
    if detail.effect is None:
        return ""
    if detail.field.endswith("bias") and detail.b is True:
        return "     (weights trained without biases bring none along: they are 0)"
    if not detail.effect:
        return "     (no score moves)"
    return f"     (alone it moves the scores by {detail.effect:.2g} of their scale)"


def preprocessing_text(preset: str) -> str:
    """A preset of preprocessing, and the values that a grey pixel gets from it."""
    from dataclasses import replace

    import numpy as np

    from ..data import PRESETS

    preprocessing = PRESETS[preset]
    grey = replace(preprocessing, resize=None, crop=None)(np.full((1, 1, 3), 128, np.uint8)).ravel()
    return (
        f"{preset}: short side {preprocessing.resize}, centre {preprocessing.crop}, "
        f"{preprocessing.interpolation}, {preprocessing.channels}; "
        f"the grey pixel (128, 128, 128) becomes ({', '.join(f'{value:.2f}' for value in grey)})"
    )


def output_text(found: Any) -> str:
    """How far the scores of the two networks differ with the same weights."""
    if found.output is None:
        return "One's weights do not fit the other: their arrays have other names or shapes."
    return f"The same weights on the same input: scores differ by up to {found.output:.2g} of their scale" + (
        ".  One is no substitute for the other." if found.output > 1e-3 else "."
    )
