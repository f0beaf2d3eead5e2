"""One affine map for each channel: batch norm by stored statistics, and what follows a convolution in the engine."""

from ...backend import Array, Pullback, array_namespace
from ...ops.norm import batch_norm_eval
from .launch import channels_first, channels_last, launch_each, pack_width, sum_dtype, supports_arrays
from .norm import NOTHING, gradient_sums


def _supports_batch_norm(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float) -> bool:
    per_channel = gamma, beta, mean, var
    if gamma is None or beta is None:
        return False
    return supports_arrays(x, *per_channel) and x.ndim == 4 and all(a.shape == x.shape[1:2] for a in per_channel)


@batch_norm_eval.register("cupy", supports=_supports_batch_norm)
def batch_norm_eval_cupy(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *,
                         eps: float) -> tuple[Array, Pullback]:
    """Equals :func:`npresnet.ops.batch_norm_eval`.

    Saves: x, a, mean, inv_std.
    """
    per_channel = gamma, beta, mean, var
    x, xp, own, dtype = channels_last(x), array_namespace(x, *per_channel), x.dtype, sum_dtype(x.dtype)
    gamma, beta, mean, var = (xp.ascontiguousarray(a, dtype) for a in per_channel)
    inv_std = 1 / xp.sqrt(var + dtype.type(eps))
    a = gamma * inv_std
    y = affine(x, a, beta - a * mean)

    def pullback(dy, skip=()):
        dy = channels_last(dy, own)
        dx = None if "x" in skip else channels_first(affine(dy, a, xp.zeros_like(a)))
        dbeta = dgamma = None
        if not {"gamma", "beta"} <= set(skip):
            dbeta, dgamma, _ = gradient_sums(dy, x, mean, inv_std, NOTHING, None, a, a)
            dbeta, dgamma = (d.astype(own, copy=False) for d in (dbeta, dgamma))
        return dx, None if "gamma" in skip else dgamma, None if "beta" in skip else dbeta

    return channels_first(y), pullback


def affine(x: Array, scale: Array, shift: Array, residual: Array | None = None, floor: float = float("-inf"),
           out: Array | None = None) -> Array:
    """max(scale·x + shift + residual, floor) of images (N, H, W, C), or of rows (N, C)."""
    y = array_namespace(x).empty_like(x) if out is None else out
    other, channels = x if residual is None else residual, x.shape[-1]
    width = pack_width(x.dtype, channels, x, other, y)
    launch_each("affine", (x, scale, shift, other, y), (channels // width, int(residual is not None), floor),
                x.size // width, width)
    return y
