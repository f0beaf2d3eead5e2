"""The classifier: the products of ops.linear, where a graph can hold them."""

from ...backend import array_namespace, tf32_allowed
from ...ops.linear import linear
from .launch import fits
from .product import matmul


@linear.register("cupy")
def linear_cupy(x, w, b=None):
    """Equals :func:`npresnet.ops.linear`.

    Saves: x, w.
    """
    if not fits(x, w, b) or x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1] or (
            b is not None and b.shape != w.shape[:1]):
        return linear.reference(x, w, b)
    xp, biased, tf32 = array_namespace(x, w, b), b is not None, tf32_allowed()
    x, w = xp.ascontiguousarray(x), xp.ascontiguousarray(w)
    y = matmul(x, w.T, tf32=tf32)                                                       # Y = X Wᵀ
    if biased:
        y += b

    def pullback(dy, skip=()):
        dy = xp.ascontiguousarray(dy)
        dx = None if "x" in skip else matmul(dy, w, tf32=tf32)                          # dX = dY W
        dw = None if "w" in skip else matmul(dy.T, x, tf32=tf32)                        # dW = dYᵀ X
        return dx, dw, dy.sum(axis=0) if biased and "b" not in skip else None

    return y, pullback
