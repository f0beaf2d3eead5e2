"""The message for arrays that are of no network."""

from ..formats.errors import quoted
from ..models.structure import Shapes
from .match.layers import layers_of
from .match.names import masked, split_role


def advice(shapes: Shapes) -> str:
    """Why the arrays are those of no ResNet."""
    layers = layers_of(shapes)
    convs = {masked(layer.path) for layer in layers if layer.kind == "conv"}
    parts = {layer.parts[:-1] for layer in layers if layer.kind == "conv"}
    alone = [
        layer.path
        for layer in layers
        if layer.kind == "norm"
        and masked(layer.path) not in convs
        and not (layer.parts and layer.parts[-1].isdecimal() and layer.parts[:-1] in parts)
    ]
    norms = sum(layer.kind == "norm" for layer in layers)
    first = ", ".join(quoted(key, 60) for key in list(shapes)[:3])
    if not convs:
        what = "there is no convolution among them"
    elif not any(split_role(key)[1] for key in shapes):
        what = "their names say nothing of what they are, and they are not in the order of a network"
    elif 0 < len(alone) <= norms // 4:
        what = f"beside the norm {quoted(alone[0])} a convolution is missing"
    else:
        what = f"their {len(convs)} convolutions are no stem and residual blocks as the family has them"
    return f"the arrays are not those of a ResNet: {what}; the first are {first}"
