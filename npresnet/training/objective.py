"""What a training step makes small.

[M] Zhang et al. 2017, mixup, arXiv:1710.09412
"""

import numpy as np

from .. import ops


def cross_entropy(logits, labels, share, smoothing):
    """(loss, pullback); with mix-up the labels' loss and the mirrored labels', mixed like the images."""
    loss, pullback = ops.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    if share == 1:
        return loss, pullback
    other, other_pullback = ops.softmax_cross_entropy(logits, labels[::-1], label_smoothing=smoothing)
    return (share * loss + (1 - share) * other,
            lambda dloss=1.0: pullback(share * dloss) + other_pullback((1 - share) * dloss))


def mixing_share(alpha, seed, step) -> float:
    """λ ~ Beta(α, α), the larger of λ and 1 − λ, so that the own label weighs more; 1 without mix-up."""
    if not alpha:
        return 1.0
    share = float(np.random.default_rng([seed, 2, step]).beta(alpha, alpha))
    return max(share, 1 - share)
