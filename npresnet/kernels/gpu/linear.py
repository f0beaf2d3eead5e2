"""The classifier: the products of ops.linear, where a graph can hold them."""

from ...backend import Array, Pullback, array_namespace, tf32_allowed
from ...ops.linear import linear
from .launch import supports_arrays
from .product import matmul


def _supports_linear(x: Array, w: Array, b: Array | None = None) -> bool:
    matrices = supports_arrays(x, w, b) and x.ndim == w.ndim == 2 and x.shape[1] == w.shape[1]
    return matrices and (b is None or b.shape == w.shape[:1])


@linear.register("cupy", supports=_supports_linear)
def linear_cupy(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.linear`.

    Saves: x, w.
    """
    xp, biased, tf32 = array_namespace(x, w, b), b is not None, tf32_allowed()
    x, w = xp.ascontiguousarray(x), xp.ascontiguousarray(w)
    y = matmul(x, w.T, tf32=tf32)                                                       # Y = X Wᵀ
    if b is not None:
        y += b

    def pullback(dy, skip=()):
        dy = xp.ascontiguousarray(dy)
        dx = None if "x" in skip else matmul(dy, w, tf32=tf32)                          # dX = dY W
        dw = None if "w" in skip else matmul(dy.T, x, tf32=tf32)                        # dW = dYᵀ X
        return dx, dw, dy.sum(axis=0) if biased and "b" not in skip else None

    return y, pullback
