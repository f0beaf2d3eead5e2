"""Neighbours in one op.  The math is the plain ops'; a kernel may pass over the images once for all of them."""

from ..backend import kernel, namespace_for
from .activation import relu
from .norm import batch_norm_train


@kernel
def batch_norm_relu(x, gamma, beta, *, eps):
    """y = σ(BN(x)), σ the ReLU and BN :func:`batch_norm_train`;   dx = BN′ᵀ σ′ᵀ dy.

    Shapes: x (N, C, H, W), gamma and beta (C,) → y (N, C, H, W), pullback, and (μ, σ²) each (C,).
    Saves: x_hat, inv_std, gamma, y.
    """
    z, norm_pullback, moments = batch_norm_train(x, gamma, beta, eps=eps)
    y, relu_pullback = relu(z)
    return y, lambda dy, skip=(): norm_pullback(relu_pullback(dy), skip), moments


@kernel
def batch_norm_add_relu(x, gamma, beta, s, *, eps):
    """y = σ(BN(x) + s), the end of a residual block;   ds = σ′ᵀ dy,   dx = BN′ᵀ ds.

    Shapes: x and s (N, C, H, W), gamma and beta (C,) → y (N, C, H, W), pullback, and (μ, σ²) each (C,).
    Saves: x_hat, inv_std, gamma, y.
    """
    namespace_for(x=x, s=s)
    z, norm_pullback, moments = batch_norm_train(x, gamma, beta, eps=eps)
    y, relu_pullback = relu(z + s)

    def pullback(dy, skip=()):
        ds = relu_pullback(dy)
        return *norm_pullback(ds, skip), None if "s" in skip else ds

    return y, pullback, moments
