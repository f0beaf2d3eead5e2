"""The losses that a network is trained with, of images that are mixed from two.

[M] Zhang et al. 2017, mixup, arXiv:1710.09412
[W] Wightman, Touvron & Jégou 2021, ResNet strikes back, arXiv:2110.00476
"""

from collections.abc import Callable

from .. import ops
from ..backend import Array, Pullback, array_namespace

THRESHOLD = 0.2  # share of an image from which on a binary target counts it, as in timm's scripts for [W]

Loss = Callable[[Array, Array, float, float], tuple[Array, Pullback]]


def cross_entropy(logits: Array, labels: Array, share: float, smoothing: float) -> tuple[Array, Pullback]:
    """λ L(y) + (1 − λ) L(y reversed), the mean loss of images that were mixed with share λ.                 [M] §2

    L is the cross-entropy of (N, K) logits and (N,) labels; λ is 1 where nothing was mixed.
    """
    loss, pullback = ops.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    if share == 1:
        return loss, pullback
    other, other_pullback = ops.softmax_cross_entropy(logits, labels[::-1], label_smoothing=smoothing)
    return (
        share * loss + (1 - share) * other,
        lambda dloss=1.0: pullback(share * dloss) + other_pullback((1 - share) * dloss),
    )


def binary_cross_entropy(logits: Array, labels: Array, share: float, smoothing: float) -> tuple[Array, Pullback]:
    """The mean over images and classes of the cross-entropy of "is class k in this image?".                 [W] §3

        loss = 1/NK · Σ_{n,k} log(1 + e^z) − t z        dz = (σ(z) − t) / NK

    with t = (1 − ε) [k is in the image] + ε/K for the label smoothing ε.  A mixed image holds each class that has more
    than a fifth of it.
    """
    xp, (n, k) = array_namespace(logits, labels), logits.shape
    t = xp.full(logits.shape, smoothing / k, logits.dtype)
    for classes, weight in ((labels, share), (labels[::-1], 1 - share)):
        if weight > THRESHOLD:
            t[xp.arange(n), classes] = 1 - smoothing + smoothing / k
    loss = (xp.logaddexp(0, logits) - t * logits).mean()

    def pullback(dloss: float = 1.0) -> Array:
        sigmoid = xp.exp(-xp.logaddexp(0, -logits))
        return (sigmoid - t) * (dloss / (n * k))

    return loss, pullback


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "binary": binary_cross_entropy}
