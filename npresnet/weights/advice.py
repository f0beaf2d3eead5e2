"""The message for arrays that are of no network."""

from collections import Counter

from ..formats.errors import quoted
from ..models.structure import Shapes
from .match.names import split_role


def advice(shapes: Shapes) -> str:
    """Why the arrays are those of no ResNet."""
    ranks = Counter(len(shape) for shape in shapes.values())
    first = ", ".join(quoted(key, 60) for key in list(shapes)[:3])
    if not ranks[4]:
        what = "there is no convolution among them"
    elif not any(split_role(key)[1] for key in shapes):
        what = "their names say nothing of what they are, and they are not in the order of a network"
    else:
        what = f"their {ranks[4]} convolutions are no stem and residual blocks as the family has them"
    return f"the arrays are not those of a ResNet: {what}; the first are {first}"
