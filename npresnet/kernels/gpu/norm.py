"""Batch norm: one pass for the statistics, by Welford's recurrence, and one for each result."""

from ...backend import array_namespace
from ...ops.cast import batch_norm_train_cast
from ...ops.norm import batch_norm_eval, batch_norm_train
from .launch import BLOCK, first, fits, last, launch, launch_each, wide, width_of

PARTS = 1024             # blocks that share the rows: a few for each multiprocessor
ROWS = 4                 # rows that a thread should have at least


@batch_norm_train.register("cupy")
def batch_norm_train_cupy(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, mean, inv_std, gamma.
    """
    if not fits(x, gamma, beta) or not _trains(x, gamma, beta):
        return batch_norm_train.reference(x, gamma, beta, eps=eps)
    return normalized(x, gamma, beta, eps)


@batch_norm_train_cast.register("cupy")
def batch_norm_train_cast_cupy(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train_cast`, without the images in gamma's dtype.

    Saves: x, mean, inv_std, gamma.
    """
    if not fits(x) or not fits(gamma, beta) or not _trains(x, gamma, beta) or gamma.dtype != wide(x.dtype):
        return batch_norm_train_cast.reference(x, gamma, beta, eps=eps)
    return normalized(x, gamma, beta, eps)


def _trains(x, *per_channel) -> bool:
    return x.ndim == 4 and all(a.shape == x.shape[1:2] for a in per_channel) and x.size >= 2 * x.shape[1]


def normalized(x, gamma, beta, eps):
    """y, pullback and (mean, var); parameters and statistics in gamma's dtype, sums in ``wide``."""
    x, xp, own, dtype = last(x), array_namespace(x, gamma, beta), gamma.dtype, wide(x.dtype)
    gamma, beta = (xp.ascontiguousarray(a, dtype) for a in (gamma, beta))
    (mean, var, inv_std), y = statistics(x, eps), xp.empty_like(x)
    over_rows("normalize", x, (x, mean, inv_std, gamma, beta, y))

    def pullback(dy, skip=()):
        dy = last(dy, x.dtype)
        dbeta, dgamma = slopes(dy, x, mean, inv_std)
        dx = None
        if "x" not in skip:
            dx = xp.empty_like(x)
            over_rows("normalize_back", x, (dy, x, mean, inv_std, gamma, dbeta, dgamma, dx))
        dgamma, dbeta = (None if name in skip else d.astype(own, copy=False)
                         for name, d in (("gamma", dgamma), ("beta", dbeta)))
        return None if dx is None else first(dx), dgamma, dbeta

    return first(y), pullback, (mean.astype(own, copy=False), var.astype(own, copy=False))


def statistics(x, eps):
    """Mean, variance and 1/√(σ² + ε) of each channel of (N, H, W, C)."""
    mean, var, inv_std = array_namespace(x).empty((3, x.shape[3]), wide(x.dtype))
    parts, width, shape = over_rows("moments", x, (x,), sums=3)
    launch("join_moments", (parts, mean, var, inv_std), (*shape, float(eps)), *joined(shape[1]), width, x)
    return mean, var, inv_std


def slopes(dy, x, mean, inv_std):
    """Σ dy and Σ dy·x̂ of each channel."""
    dbeta, dgamma = array_namespace(x).empty((2, x.shape[3]), wide(x.dtype))
    parts, width, shape = over_rows("slopes", x, (dy, x, mean, inv_std), sums=2)
    launch("join_slopes", (parts, dbeta, dgamma), shape, *joined(shape[1]), width, x)
    return dbeta, dgamma


def over_rows(name, x, arrays, sums=0):
    """Launch a kernel that walks over the rows (N·H·W, C); ``sums`` numbers a channel come back from each block row.

    Returns those parts, the width and (how many parts, packs).
    """
    channels, xp = x.shape[3], array_namespace(x)
    width = width_of(x.dtype, channels, *(a for a in arrays if a.size == x.size))
    rows, packs = x.size // channels, channels // width
    (across, _), block = joined(packs)
    blocks = min(max(1, PARTS // across), -(-rows // (block[1] * ROWS)))
    if sums:
        parts = xp.empty((blocks, channels, sums), wide(x.dtype))
        arrays = (*arrays, parts)
    launch(name, arrays, (rows, packs), (across, blocks), block, width, x)
    return (parts, width, (blocks, packs)) if sums else None


def joined(packs):
    """(grid, block) of one row of blocks over the packs of a pixel: as wide as they are, up to a warp."""
    across = min(32, 1 << (packs - 1).bit_length())
    return (-(-packs // across), 1), (across, BLOCK // across)


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
            dbeta, dgamma = (d.astype(own, copy=False) for d in slopes(dy, x, mean, inv_std))
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
