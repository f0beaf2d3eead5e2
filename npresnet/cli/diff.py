"""Show how two dialects of a network differ: detail by detail, layer by layer, and in the numbers.

A and B are dialects: torchvision, paper, caffe, keras, timm, huggingface, keras-tutorial-a, keras-tutorial-b,
pytorch-tutorial.  The effect of a detail is how far the scores move when it alone changes: an untrained network, the
same weights, the same random image.  Needs no files.  The exit status is 1 where they differ, as diff's.
"""

import textwrap

from ..printer import say, say_json
from .backends import add_backend_argument, on_cpu

EXAMPLES = """examples:
  npresnet diff keras torchvision
  npresnet diff caffe paper --model resnet101
  npresnet diff timm huggingface --json"""


def add_arguments(parser):
    parser.add_argument("a", metavar="A", help="a dialect")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--model", default="resnet50", metavar="NAME", help="the network (default: resnet50)")
    add_backend_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args) -> int:
    from ..analysis.diff import diff
    with on_cpu("diff", args.backend):
        found = diff(args.a, args.b, args.model)
    if args.json:
        say_json(found.to_dict())
    else:
        say(*"\n".join(lines(found)).split("\n"))
    return 1 if found.details else 0


def lines(found):
    """The whole comparison as text."""
    yield f"{found.model}: {found.a} against {found.b}"
    if not found.details:
        yield "No detail differs: the same weights give the same numbers."
        return
    yield from ("", f"What differs ({found.a} → {found.b})")
    for detail in found.details:
        yield f"\n  {detail.field}: {detail.a} → {detail.b}{told_effect(detail)}"
        yield textwrap.fill(detail.meaning, 100, initial_indent="    ", subsequent_indent="    ")
        if detail.field == "preprocessing":
            yield from (f"    {told_recipe(preset)}" for preset in (detail.a, detail.b))
    yield from ("", "Layer by layer")
    for names, what, a, b in found.layers:
        yield f"  {what}: {a} → {b}"
        yield textwrap.fill(told_names(names), 100, initial_indent="    ", subsequent_indent="    ")
    yield from ("", "In numbers")
    for what, a, b in found.numbers:
        yield f"  {what:20}{a:>16,}  → {b:>16,}" + ("" if a != b else "   the same")
    yield "  " + told_output(found)


def told_names(names, most=8):
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def told_effect(detail):
    if detail.effect is None:
        return ""
    if detail.field.endswith("bias") and detail.b is True:
        return "     (weights trained without biases bring none along: they are 0)"
    if not detail.effect:
        return "     (no score moves)"
    return f"     (alone it moves the scores by {detail.effect:.2g} of their scale)"


def told_recipe(preset):
    """A preset, and what it makes of one grey pixel."""
    from dataclasses import replace

    import numpy as np

    from ..data import PRESETS
    recipe = PRESETS[preset]
    grey = replace(recipe, resize=None, crop=None)(np.full((1, 1, 3), 128, np.uint8)).ravel()
    return (f"{preset}: short side {recipe.resize}, centre {recipe.crop}, {recipe.interpolation}, {recipe.channels}; "
            f"the grey pixel (128, 128, 128) becomes ({', '.join(f'{value:.2f}' for value in grey)})")


def told_output(found):
    if found.output is None:
        return "One's weights do not fit the other: their arrays have other names or shapes."
    return (f"The same weights on the same input: scores differ by up to {found.output:.2g} of their scale"
            + (".  One is no substitute for the other." if found.output > 1e-3 else "."))
