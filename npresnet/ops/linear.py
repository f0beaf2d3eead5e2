"""The affine map of a classifier."""

from ..backend import Array, Pullback, namespace_for
from .rules import op
from .total import total


@op
def linear(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Pullback]:
    """Y = X Wᵀ + 1 bᵀ;   dX = dY W,   dW = dYᵀ X,   db = dYᵀ 1.

    Shapes: x (N, D), w (M, D), b (M,) or None → y (N, M).
    Saves: x, w.
    Raises: ValueError where shapes do not fit, TypeError where dtypes or devices differ.
    """
    namespace_for(x=x, w=w, b=b)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1] or (b is not None and b.shape != w.shape[:1]):
        raise ValueError(f"linear takes x (N, D), w (M, D) and b (M,), not {x.shape}, {w.shape} and "
                         f"{None if b is None else b.shape}")
    biased = b is not None
    y = x @ w.T                                                         # Y = X Wᵀ
    if biased:
        y += b                                                          #       + 1 bᵀ

    def pullback(dy, skip=()):
        dx = None if "x" in skip else dy @ w                            # dX = dY W
        dw = None if "w" in skip else dy.T @ x                          # dW = dYᵀ X
        db = total(dy, 0) if biased and "b" not in skip else None       # db = dYᵀ 1
        return dx, dw, db

    return y, pullback
