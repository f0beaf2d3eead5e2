"""Functions applied value by value, and the softmax of each row."""

from ..backend import Array, Pullback, array_namespace, namespace_for
from .rules import op


@op
def relu(x: Array) -> tuple[Array, Pullback]:
    """y = max(x, 0);   dx = dy · [y > 0].

    At the kink x = 0 the derivative is taken as 0, as in PyTorch; where x is NaN, too (PyTorch takes 1).

    Shapes: any.
    Saves: y; the next convolution saves it anyway.
    """
    y = namespace_for(x=x).maximum(x, 0)
    return y, lambda dy: array_namespace(dy).where(y > 0, dy, 0)


@op
def softmax(z: Array) -> tuple[Array, Pullback]:
    """p[n,k] = e^{z[n,k]} / Σ_j e^{z[n,j]};   dz = p · (dp − Σ_k dp·p).

    The row's maximum is subtracted first: it cancels, and nothing overflows.

    Shapes: z (N, K) → p (N, K).
    Saves: p.
    Raises: ValueError for other axes, and where there is no class.
    """
    xp = namespace_for(z=z)
    if z.ndim != 2 or z.shape[1] == 0:
        raise ValueError(f"softmax takes z (N, K) with at least one class, not {z.shape}")
    e = xp.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, lambda dp: p * (dp - (dp * p).sum(axis=1, keepdims=True))
