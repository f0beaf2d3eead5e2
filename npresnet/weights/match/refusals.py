"""What stands inside a network or at its ends, and has no place in the family."""

import re

from ...formats.errors import WeightsError, quoted
from ...models.structure import Shapes
from .blocks import Body, block_prefixes
from .heads import NAMES
from .layers import Layer, Scope
from .names import tail

NECK = re.compile(r"(^|[._/])(bottleneck|bn_?neck|neck|bnneck)([._/]|$)", re.IGNORECASE)
DIGITS = re.compile(r"\d+")


def refuse_unknown_parts(body: Body, unused: list[Layer], shapes: Shapes, scope: Scope) -> None:
    """Raise WeightsError for arrays inside a block that have no place."""
    blocks = {prefix for prefix in block_prefixes(body) if len(prefix) > len(scope)}
    for layer in unused:
        large = any(size > 1 for key in layer.keys.values() for size in shapes[key])
        if large and any(layer.within(prefix) for prefix in blocks):
            raise WeightsError(f"{quoted(layer.path)} is no part of a block as the family has them")


def refuse_other_ends(body: Body, head: list[Layer], unused: list[Layer], scope: Scope) -> None:
    """Raise WeightsError for a convolution that makes the stem's input, and for norms beside the classifier."""
    part = head[0].parts[:-1] if head else ()
    features = body.blocks[-1].branch[-1].out
    channels = body.stem[-1].out
    missing = set()  # (input, output) channels of the shortcuts that change them without a projection
    for block in body.blocks:
        out = block.branch[-1].out
        missing |= {(channels, out)} if block.projection is None and channels != out else set()
        channels = out
    alike = {DIGITS.sub("#", conv.path) for block in body.blocks for conv in block.layers}
    for layer in unused:
        if DIGITS.sub("#", layer.path) in alike and layer.within(scope):
            raise WeightsError(
                f"{quoted(layer.path)} is called like the convolutions of the blocks, and follows none of them"
            )
        if layer.kind == "conv" and layer.kernel == 1 and layer.shape[1::-1] in missing:
            raise WeightsError(f"the convolution {quoted(layer.path)} fits a shortcut, but its name does not say which")
        if not head and layer.kind == "norm" and layer.parts[-1:] and layer.parts[-1] in NAMES:
            raise WeightsError(f"the classifier {quoted(layer.path)} is a vector, not a matrix")
        beside = part and layer.kind == "norm" and layer.parts[:-1] == part
        neck = head and layer.kind == "norm" and layer.out == features and NECK.search(tail(layer.path))
        if beside or neck:
            raise WeightsError(
                f"the norm {quoted(layer.path)} stands in the head, where the family has linear layers alone"
            )
        if layer.kind == "conv" and layer.out == body.stem[0].channels and layer.kernel == 1 and layer.channels <= 16:
            raise WeightsError(
                f"the convolution {quoted(layer.path)} stands before the network, where the family has none"
            )
