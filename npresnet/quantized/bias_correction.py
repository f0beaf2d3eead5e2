"""Bias correction: what rounding the weights adds to a channel's mean is taken off its bias.

    y~ = w~ ⋆ x + b = y + ε ⋆ x,  ε = w~ − w,     E[y~] = E[y] + ε E[x],     b <- b − ε E[x]            [D] §4.2

[D] Nagel et al. 2019, Data-free quantization through weight equalization and bias correction, arXiv:1906.04721
"""

from collections.abc import Mapping

import numpy as np

from ..backend import Array
from .float_step import FloatStep


class ChannelMeans:
    """E[x] of each channel, over the images and their pixels."""

    def __init__(self) -> None:
        self.total, self.count = np.zeros(()), 0

    def observe(self, x: Array) -> None:
        """Take a batch (N, C, H, W) or (N, C) into account."""
        self.total = self.total + x.sum((0, *range(2, x.ndim)), dtype=np.float64)
        self.count += x.size // x.shape[1]

    @property
    def mean(self) -> Array:
        """(C,) in float64."""
        return self.total / self.count


def corrected_bias(step: FloatStep, arrays: Mapping[str, Array], mean: Array) -> Array:
    """The bias of a step with weights, of whose input the channels' means are known.

    E[x] is that of the float network, [D]'s of batch norm where there is one; here it is measured.  At the border,
    where a part of the window lies on padding, it is taken for that of the whole window.

    Shapes: mean (C,) → (F,) float32, with ``arrays`` as rounded_weights() gives them.
    """
    q, scale, bias = (arrays[f"{step.name}.{name}"] for name in ("weight", "weight_scale", "bias"))
    w, _ = step.affine()
    eps = q * scale.reshape(-1, *(1,) * (q.ndim - 1)).astype(np.float64) - w
    eps = eps.sum(tuple(range(2, q.ndim)))  # (F, C/G): each pixel of the window sees the same mean
    groups = step.window.get("groups", 1)
    shift = np.einsum("gfc,gc->gf", eps.reshape(groups, -1, eps.shape[1]), mean.reshape(groups, -1))
    return (bias - shift.reshape(-1)).astype(np.float32)
