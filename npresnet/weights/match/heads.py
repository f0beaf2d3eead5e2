"""Finds the classifier among the linear layers: one that takes the network's features, or a chain of such."""

import re
from collections.abc import Collection

from ...formats.errors import WeightsError, quoted
from .blocks import Body
from .layers import Layer
from .names import tail

NAMES = ("fc", "linear", "classifier", "head", "last_linear", "output", "logits", "predictions", "dense", "cls", "out")
NO_CLASSIFIER = re.compile(
    r"(^|[./_])(proj\w*|predict(or|ion_head)|prototypes?|contrast\w*|queue|dino_head|ibot_head|aux\w*|mlp|simclr|"
    r"domain\w*|discriminator|rpn|roi\w*|box\w*|bbox\w*|mask\w*|fpn|rotation\w*|jigsaw|embed\w*)([./_\d]|$)",
    re.IGNORECASE,
)
CONTRASTIVE = re.compile(
    r"(^|[./_])(encoder_[qk]|online\w*|target\w*|momentum\w*|base_encoder)([./_]|$)", re.IGNORECASE
)


def head_of(
    inside: list[Layer], layers: list[Layer], features: int, body: Body, gates: Collection[int], recorded: bool
) -> list[Layer]:
    """The linear layers of the classifier, from the features to the scores; none where there is no classifier.

    ``recorded``: whether the file holds a whole network, which ends in what it computes and in no projection head.
    Raises WeightsError where several fit, or where one takes other features than the network gives.
    """
    if len(body.rest) == 1 and body.rest[0].kernel == 1 and body.rest[0].channels == features:
        return [body.rest[0]]
    linear = [layer for layer in layers if layer.kind == "linear" and id(layer) not in gates]
    ours = [layer for layer in linear if id(layer) in set(map(id, inside))]
    for group in (ours, linear):
        turned_right(group, features)
        fitting = [
            layer for layer in group if layer.channels == features and not NO_CLASSIFIER.search(tail(layer.path))
        ]
        if fitting:
            return chosen(fitting, group, recorded)
    other = next((layer for layer in linear if layer.channels == 2 * features or named(layer)), None)
    if other and other.channels % features == 0 and not NO_CLASSIFIER.search(tail(other.path)):
        raise WeightsError(
            f"the classifier {quoted(other.path)} takes {other.channels} numbers and the network gives {features}: "
            "it pools in another way (the mean beside the maximum, or all pixels), which the family does not"
        )
    return []


def turned_right(group: list[Layer], features: int) -> None:
    """Transpose the linear layers that take the features only then."""
    for layer in group:
        if layer.channels != features and layer.out == features and named(layer):
            layer.shape, layer.axes = layer.shape[::-1], None if layer.axes else (1, 0)


def named(layer: Layer) -> bool:
    """Whether a part of the path is a usual name of a classifier."""
    return any(part.lower().rstrip("0123456789_") in NAMES for part in layer.parts)


def chosen(fitting: list[Layer], group: list[Layer], recorded: bool) -> list[Layer]:
    """The classifier from one of the layers that take the features on; none where it begins a projection head."""
    firsts: dict[tuple[str, ...], Layer] = {}
    for layer in fitting:  # of several in one part the first
        part = layer.parts[:-1] or layer.parts
        firsts.setdefault(part, layer)
    heads = list(firsts.values())
    heads = best_named(heads) if len(heads) > 1 else heads
    if len(heads) > 1:
        raise WeightsError(
            f"several classifiers fit: {', '.join(quoted(layer.path) for layer in heads)}; keep one of them in the file"
        )
    beside = [layer for layer in group if layer.parts[:-1] == heads[0].parts[:-1]]
    chain = heads
    for layer in beside[beside.index(heads[0]) + 1 :]:
        if layer.channels == chain[-1].out:
            chain = [*chain, layer]
    other = next((layer for layer in beside if layer not in chain), None)
    if other is not None and heads[0].parts[1:]:
        raise WeightsError(f"of the head's linear layers {quoted(other.path)} follows none of the others")
    projects = chain[0].out == chain[0].channels or CONTRASTIVE.search(tail(chain[0].path))
    return [] if len(chain) > 1 and projects and not recorded else chain


def best_named(fitting: list[Layer]) -> list[Layer]:
    """Those with the most usual name."""
    for name in NAMES:
        exact = [layer for layer in fitting if name in layer.parts[-2:]]
        if exact:
            return exact
    return fitting
