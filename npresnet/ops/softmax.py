"""The probabilities that scores stand for, and their logarithms."""

from ..backend import Array, Pullback, namespace_for
from .rules import op


@op
def softmax(z: Array) -> tuple[Array, Pullback]:
    """p[n,k] = e^{z[n,k]} / Σ_j e^{z[n,j]};   dz = p · (dp − Σ_k dp·p).

    The row's maximum is subtracted first: it cancels, and nothing overflows.

    Shapes: z (N, K) → p (N, K).
    Saves: p.
    Raises: ValueError for other axes, and where there is no class.
    """
    xp = namespace_for(z=z)
    check_scores(z, "softmax")
    e = xp.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, lambda dp: p * (dp - (dp * p).sum(axis=1, keepdims=True))


@op
def log_softmax(z: Array) -> tuple[Array, Pullback]:
    """log p[n,k] = z[n,k] − log Σ_j e^{z[n,j]};   dz = dy − p · Σ_k dy.

    The row's maximum is subtracted first, as in :func:`softmax`.  The logarithm of a probability that is rounded to 0
    keeps its digits here.

    Shapes: z (N, K) → log p (N, K).
    Saves: log_p.
    Raises: ValueError for other axes, and where there is no class.
    """
    xp = namespace_for(z=z)
    check_scores(z, "log_softmax")
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - xp.log(xp.exp(z).sum(axis=1, keepdims=True))
    return log_p, lambda dy: dy - xp.exp(log_p) * dy.sum(axis=1, keepdims=True)


def check_scores(z: Array, name: str) -> None:
    """Raise unless z holds a row of scores for each image."""
    if z.ndim != 2 or z.shape[1] == 0:
        raise ValueError(f"{name} takes z (N, K) with at least one class, not {z.shape}")
