"""Matrix products in a browser: NumPy has no BLAS there, and its einsum is several times as fast as its matmul."""

import numpy as np

from npresnet.ops import conv2d


class Quick(np.ndarray):
    """An array whose products are einsum's."""

    def __matmul__(self, other):
        return np.einsum("...ij,...jk->...ik", np.asarray(self), np.asarray(other))


@conv2d.register("numpy")
def quick_conv2d(x, w, b=None, **static):
    """The reference itself, whose three products have w or dy on their left: Y = W X̃, dW = dY X̃ᵀ, dX̃ = Wᵀ dY."""
    y, pullback = conv2d.reference(x, w.view(Quick), b, **static)

    def quick_pullback(dy, skip=()):
        return tuple(None if d is None else np.asarray(d) for d in pullback(dy.view(Quick), skip))

    return y, quick_pullback
