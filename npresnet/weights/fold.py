"""fold_batch_norms: the same predictions with fewer layers.

A batch norm that predicts is y = a·x + (β − a·μ) with a = γ/√(σ² + ε), for each channel.  Behind a convolution it is
one more linear map, so that a·W and a·b + β − a·μ compute both.
"""

from collections import Counter

import numpy as np

from .. import nn
from ..nn.module import Model
from ..nn.visit import Visitor


def fold_batch_norms(model: Model) -> Model:
    """A copy whose batch norms right behind a convolution are part of it; the others stay.

    The products are computed in float64 and rounded once.
    """
    copy = model.copy()
    search = Search(copy)
    search.visit(copy, None)
    runs = Counter(id(part) for pair in search.pairs for part in pair)
    for conv, norm in search.pairs:
        if runs[id(conv)] == runs[id(norm)] == 1 == search.calls[id(conv)]:
            absorb(conv, norm)
            path = search.names[id(norm)].split(".")
            parent = copy
            for name in path[:-1]:
                parent = parent.children()[name]
            setattr(parent, path[-1], nn.Identity())
    return copy


class Search(Visitor):
    """Finds each batch norm whose image comes from a convolution and goes nowhere else.

    What is carried is that convolution, or None; what a sum's two paths read is no convolution's alone.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
        self.calls: Counter[int] = Counter()

    def residual(self, module: nn.Residual, x: object, name: str) -> None:
        self.visit(module.branch, None, name)
        self.visit(module.shortcut, None, name)

    def leaf(self, module: nn.Module, x: nn.Conv2d | None, name: str) -> nn.Conv2d | None:
        self.calls[id(module)] += 1
        if type(module) is nn.BatchNorm2d and x is not None:
            self.pairs.append((x, module))
        return module if type(module) is nn.Conv2d else None


def absorb(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give the convolution the arrays that compute both."""
    weight, dtype = conv.weight.value, conv.weight.value.dtype
    scale, shift = norm.affine_map()
    bias = 0 if conv.bias is None else conv.bias.value.astype(np.float64)
    conv.weight = nn.Parameter((weight * scale[:, None, None, None]).astype(dtype), conv.weight.trainable)
    conv.bias = nn.Parameter((scale * bias + shift).astype(dtype), conv.weight.trainable)
