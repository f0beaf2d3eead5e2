"""The message for arrays that are of no network: whether all keys have a prefix, or only the head is unknown."""

import re
from collections.abc import Callable, Collection

from ..formats.errors import quoted
from ..models.structure import Shapes

STEM, BLOCK, HEAD = "conv1.weight", "layer1.0.conv1.weight", "fc.weight"
FIRST = re.compile(r"layer[1-4]\.0\.(conv|bn)\d\.weight")
TRUNK = re.compile(r"(conv1|bn1?|layer[1-4])\.")


def prefix_of(keys: Collection[str]) -> str:
    """The text before every key of a network, or ""."""
    found = (key.removesuffix(STEM) for key in keys if key.endswith(f".{STEM}"))
    return next((prefix for prefix in found if prefix + BLOCK in keys), "")


def advice(shapes: Shapes, name: Callable[[Shapes], str | None]) -> str:
    """Why the keys are not those of a network, and how to load what is known of them.

    ``name(shapes)`` is the network that shapes belong to, or None.
    """
    prefix = prefix_of(shapes)
    if prefix:
        return (
            f"the keys of a network begin with {quoted(prefix)} here; take that off: create_model(name, weights="
            f"{{key.removeprefix({quoted(prefix)}): array for key, array in read_weights(path).items()}})"
        )
    trunk = {key: shape for key, shape in shapes.items() if TRUNK.match(key)}
    known = name(trunk | {HEAD: (1, features(shapes))}) if HEAD not in shapes and BLOCK in shapes else None
    if not known:
        return "the keys are not those of a ResNet as torchvision names them; the first are " + ", ".join(
            quoted(key) for key in list(shapes)[:3]
        )
    head = [quoted(key) for key in shapes if key not in trunk]
    instead = f", only {', '.join(head[:4])}{', …' if len(head) > 4 else ''}" if head else ""
    return (
        f"only the head is unknown: the rest is of {known}, but there is no fc.weight{instead}; rename it, or load "
        f'the rest: load_weights(create_model("{known}", num_classes=…), {{key: array for key, array in '
        'read_weights(path).items() if key.startswith(("conv1.", "bn", "layer"))}, reset="fc")'
    )


def features(shapes: Shapes) -> int:
    """The channels after the last stage: those of its last batch norm, or of its last convolution."""
    last = max(key for key in shapes if key.startswith("layer"))[:6]
    found = [shape for key, shape in shapes.items() if key.startswith(last) and FIRST.match(key)]
    return max((shape[0] for shape in found if shape), default=0)
