"""One affine map for each channel: batch norm by stored statistics, and what follows a convolution in the engine."""

from ...backend import array_namespace
from ...ops.norm import batch_norm_eval
from .launch import first, fits, last, launch_each, wide, width_of
from .norm import PLAIN, slopes


@batch_norm_eval.register("cupy")
def batch_norm_eval_cupy(x, gamma, beta, mean, var, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_eval`.

    Saves: x, a, mean, inv_std.
    """
    per_channel = (gamma, beta, mean, var)
    if not fits(x, *per_channel) or x.ndim != 4 or any(a.shape != x.shape[1:2] for a in per_channel):
        return batch_norm_eval.reference(x, gamma, beta, mean, var, eps=eps)
    x, xp, own, dtype = last(x), array_namespace(x, *per_channel), x.dtype, wide(x.dtype)
    gamma, beta, mean, var = (xp.ascontiguousarray(a, dtype) for a in per_channel)
    inv_std = 1 / xp.sqrt(var + dtype.type(eps))
    a = gamma * inv_std
    y = affine(x, a, beta - a * mean)

    def pullback(dy, skip=()):
        dy = last(dy, own)
        dx = None if "x" in skip else first(affine(dy, a, xp.zeros_like(a)))
        dbeta = dgamma = None
        if not {"gamma", "beta"} <= set(skip):
            dbeta, dgamma, _ = slopes(dy, x, mean, inv_std, PLAIN, None, a, a)
            dbeta, dgamma = (d.astype(own, copy=False) for d in (dbeta, dgamma))
        return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta

    return first(y), pullback


def affine(x, scale, shift, residual=None, floor=float("-inf"), out=None):
    """max(scale·x + shift + residual, floor) of images (N, H, W, C), or of rows (N, C)."""
    y = array_namespace(x).empty_like(x) if out is None else out
    other, channels = x if residual is None else residual, x.shape[-1]
    width = width_of(x.dtype, channels, x, other, y)
    launch_each("affine", (x, scale, shift, other, y), (channels // width, int(residual is not None), floor),
                x.size // width, width)
    return y
