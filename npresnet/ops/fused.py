"""Two or three layers in a row as one op.  The math is the plain ops'; a kernel may read the images once for all."""

from ..backend import Array, Pullback, Ranks, namespace_for
from .activation import relu
from .check import IntOrPair, Padding
from .conv import conv2d
from .rules import op
from .sync_norm import normalized

NORM = frozenset({"x", "gamma", "beta"})      # what batch norm's pullback may skip


@op
def batch_norm_relu(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float,
                    ranks: Ranks | None = None) -> tuple[Array, Pullback, tuple[Array, ...]]:
    """y = σ(BN(x)), σ the ReLU and BN :func:`.norm.batch_norm_train`;   dx = BN′ᵀ σ′ᵀ dy.

    With ``ranks`` BN is :func:`.sync_norm.sync_batch_norm_train`, here and below.

    Shapes: x (N, C, H, W), gamma and beta (C,) or None → y (N, C, H, W), pullback, and (μ, σ²) each (C,).
    Saves: x_hat, inv_std, gamma, y.
    """
    z, norm_pullback, moments = normalized(x, gamma, beta, eps, ranks)
    y, relu_pullback = relu(z)
    return y, lambda dy, skip=(): norm_pullback(relu_pullback(dy), skip), moments


@op
def batch_norm_relu_conv2d(x: Array, gamma: Array | None, beta: Array | None, w: Array, b: Array | None = None, *,
                           eps: float, stride: IntOrPair = 1, padding: Padding = 0, dilation: IntOrPair = 1,
                           groups: int = 1, ranks: Ranks | None = None) -> tuple[Array, Pullback, tuple[Array, ...]]:
    """y = w ⋆ σ(BN(x)) + b, :func:`conv2d` after :func:`batch_norm_relu`;   dx = BN′ᵀ σ′ᵀ Wᵀ dy.

    A kernel need not keep what lies between the two: σ(BN(x)) is one multiply-add away from x.

    Shapes: x (N, C, H, W), gamma, beta (C,) or None, w (F, C/G, kh, kw), b (F,) or None → y (N, F, oh, ow), pullback,
    and (μ, σ²) of x, each (C,).
    Saves: x_hat, inv_std, gamma, w, x; the last is what conv2d saves, z here.
    """
    z, norm_pullback, moments = batch_norm_relu(x, gamma, beta, eps=eps, ranks=ranks)
    y, conv_pullback = conv2d(z, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)

    def pullback(dy, skip=()):
        dz, dw, db = conv_pullback(dy, skip={"w", "b"}.intersection(skip))
        return *norm_pullback(dz, NORM.intersection(skip)), dw, db

    return y, pullback, moments


@op
def batch_norm_add_relu(x: Array, gamma: Array | None, beta: Array | None, s: Array, *, eps: float,
                        ranks: Ranks | None = None) -> tuple[Array, Pullback, tuple[Array, ...]]:
    """y = σ(BN(x) + s), the end of a residual block;   ds = σ′ᵀ dy,   dx = BN′ᵀ ds.

    Shapes: x and s (N, C, H, W), gamma and beta (C,) or None → y (N, C, H, W), pullback, and (μ, σ²) each (C,).
    Saves: x_hat, inv_std, gamma, y.
    """
    namespace_for(x=x, s=s)
    if x.shape != s.shape:
        raise ValueError(f"the two paths of a sum need one shape, not {x.shape} and {s.shape}")
    z, norm_pullback, moments = normalized(x, gamma, beta, eps, ranks)
    y, relu_pullback = relu(z + s)

    def pullback(dy, skip=()):
        ds = relu_pullback(dy)
        return *norm_pullback(ds, NORM.intersection(skip)), None if "s" in skip else ds

    return y, pullback, moments
