"""Batch norm, alone or with the sum and the ReLU behind it: one pass for the statistics, one for each result."""

from ...backend import array_namespace
from ...ops.cast import batch_norm_train_cast
from ...ops.fused import batch_norm_add_relu, batch_norm_relu
from ...ops.norm import batch_norm_train
from .launch import BLOCK, first, fits, last, launch, wide, width_of

PARTS = 1024             # blocks that share the rows: a few for each multiprocessor
ROWS = 4                 # rows that a thread should have at least


PLAIN, BENT, SUMMED = 0, 1, 2        # what lies behind the batch norm: nothing, a ReLU, a sum and a ReLU (norm.cu)


@batch_norm_train.register("cupy")
def batch_norm_train_cupy(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, mean, inv_std, gamma, beta.
    """
    if not fits(x, gamma, beta) or not _trains(x, gamma, beta):
        return batch_norm_train.reference(x, gamma, beta, eps=eps)
    return normalized(x, gamma, beta, eps)


@batch_norm_train_cast.register("cupy")
def batch_norm_train_cast_cupy(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_train_cast`, without the images in gamma's dtype.

    Saves: x, mean, inv_std, gamma, beta.
    """
    if not _seams(x, gamma, beta):
        return batch_norm_train_cast.reference(x, gamma, beta, eps=eps)
    return normalized(x, gamma, beta, eps)


@batch_norm_relu.register("cupy")
def batch_norm_relu_cupy(x, gamma, beta, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_relu`; gamma and beta may be wider than x.

    Where y > 0 is found again from x, by the arithmetic of the forward call.
    Saves: x, mean, inv_std, gamma, beta.
    """
    if not _seams(x, gamma, beta):
        return batch_norm_relu.reference(x, gamma, beta, eps=eps)
    return normalized(x, gamma, beta, eps, BENT)


@batch_norm_add_relu.register("cupy")
def batch_norm_add_relu_cupy(x, gamma, beta, s, *, eps):
    """Equals :func:`npresnet.ops.batch_norm_add_relu`; gamma and beta may be wider than x and s.

    Saves: x, mean, inv_std, gamma, beta, y.
    """
    if not _seams(x, gamma, beta) or not fits(x, s) or x.shape != s.shape:
        return batch_norm_add_relu.reference(x, gamma, beta, s, eps=eps)
    return normalized(x, gamma, beta, eps, SUMMED, s)


def _trains(x, *per_channel) -> bool:
    return x.ndim == 4 and all(a.shape == x.shape[1:2] for a in per_channel) and x.size >= 2 * x.shape[1]


def _seams(x, gamma, beta) -> bool:
    """Whether x fits, and gamma and beta are of its dtype or of the one it is summed in."""
    return fits(x) and fits(gamma, beta) and _trains(x, gamma, beta) and gamma.dtype in (x.dtype, wide(x.dtype))


def normalized(x, gamma, beta, eps, behind=PLAIN, s=None):
    """y, pullback and (mean, var); parameters and statistics in gamma's dtype, sums in ``wide``."""
    x, xp, own, dtype = last(x), array_namespace(x, gamma, beta, s), gamma.dtype, wide(x.dtype)
    gamma, beta = (xp.ascontiguousarray(a, dtype) for a in (gamma, beta))
    (mean, var, inv_std), result = statistics(x, eps), xp.empty_like(x)
    over_rows("normalize", x, (x, mean, inv_std, gamma, beta, x if s is None else last(s), result),
              (int(s is not None), int(behind != PLAIN)))
    y = result if behind == SUMMED else None

    def pullback(dy, skip=()):
        dy, dx = last(dy, x.dtype), None
        dbeta, dgamma, ds = slopes(dy, x, mean, inv_std, behind, y, gamma, beta)
        if "x" not in skip:
            dx = xp.empty_like(x)
            arrays = ds, x, mean, inv_std, gamma, beta, dbeta, dgamma, dx
            over_rows("normalize_back", x, arrays, (int(behind == BENT),))
        dgamma, dbeta = (None if name in skip else d.astype(own, copy=False)
                         for name, d in (("gamma", dgamma), ("beta", dbeta)))
        found = None if dx is None else first(dx), dgamma, dbeta
        return found if behind != SUMMED else (*found, None if "s" in skip else first(ds))

    return first(result), pullback, (mean.astype(own, copy=False), var.astype(own, copy=False))


def statistics(x, eps):
    """Mean, variance and 1/√(σ² + ε) of each channel of (N, H, W, C)."""
    mean, var, inv_std = array_namespace(x).empty((3, x.shape[3]), wide(x.dtype))
    parts, width, shape = over_rows("moments", x, (x,), sums=3)
    launch("join_moments", (parts, mean, var, inv_std), (*shape, float(eps)), *joined(shape[1]), width, x)
    return mean, var, inv_std


def slopes(dy, x, mean, inv_std, behind, y, gamma, beta):
    """Σ dz and Σ dz·x̂ of each channel, and dz itself, but for BENT, where it is still dy."""
    dbeta, dgamma = array_namespace(x).empty((2, x.shape[3]), wide(x.dtype))
    ds = array_namespace(x).empty_like(x) if behind == SUMMED else dy
    arrays = (dy, x, x if y is None else y, mean, inv_std, gamma, beta, ds)
    parts, width, shape = over_rows("slopes", x, arrays, (behind,), sums=2)
    launch("join_slopes", (parts, dbeta, dgamma), shape, *joined(shape[1]), width, x)
    return dbeta, dgamma, ds


def over_rows(name, x, arrays, numbers=(), sums=0):
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
    launch(name, arrays, (rows, packs, *numbers), (across, blocks), block, width, x)
    return (parts, width, (blocks, packs)) if sums else None


def joined(packs):
    """(grid, block) of one row of blocks over the packs of a pixel: as wide as they are, up to a warp."""
    across = min(32, 1 << (packs - 1).bit_length())
    return (-(-packs // across), 1), (across, BLOCK // across)
