"""Batch norm, alone or with the sum and the ReLU that follow it: one pass for the statistics, one for each result."""

from collections.abc import Sequence
from typing import NamedTuple

from ...backend import Array, Pullback, Ranks, array_namespace
from ...ops.cast import batch_norm_train_cast
from ...ops.fused import batch_norm_add_relu, batch_norm_relu
from ...ops.norm import batch_norm_train
from .launch import BLOCK, channels_first, channels_last, launch, pack_width, sum_dtype, supports_arrays

PARTS = 1024             # blocks that share the rows: a few for each multiprocessor
ROWS = 4                 # rows that a thread should have at least

NOTHING, RELU, ADD_RELU = 0, 1, 2      # the epilogue, what follows the batch norm in the same pass (norm.cu)


def _shapes_agree(x, gamma, beta) -> bool:
    per_channel = gamma is not None and beta is not None and gamma.shape == beta.shape == x.shape[1:2]
    return x.ndim == 4 and per_channel and x.size >= 2 * x.shape[1]


def _supports_train(x: Array, gamma: Array, beta: Array, *, eps: float) -> bool:
    return supports_arrays(x, gamma, beta) and _shapes_agree(x, gamma, beta)


def _supports_mixed(x: Array, gamma: Array, beta: Array, *, eps: float, ranks: Ranks | None = None) -> bool:
    """gamma and beta may be of x's dtype, or of the one it is summed in; of one rank's batch."""
    if gamma is None or beta is None or ranks is not None:
        return False
    known = supports_arrays(x) and supports_arrays(gamma, beta) and gamma.dtype in (x.dtype, sum_dtype(x.dtype))
    return known and _shapes_agree(x, gamma, beta)


def _supports_add_relu(x: Array, gamma: Array, beta: Array, s: Array, *, eps: float,
                       ranks: Ranks | None = None) -> bool:
    return _supports_mixed(x, gamma, beta, eps=eps, ranks=ranks) and supports_arrays(x, s) and x.shape == s.shape


Results = tuple[Array, Pullback, tuple[Array, Array]]           # y, pullback, (mean, var)


@batch_norm_train.register("cupy", supports=_supports_train)
def batch_norm_train_cupy(x: Array, gamma: Array, beta: Array, *, eps: float) -> Results:
    """Equals :func:`npresnet.ops.batch_norm_train`; keeps x in the place of x̂, which is one multiply-add away.

    Saves: x, mean, inv_std, gamma, beta.
    """
    return batch_norm(x, gamma, beta, eps)


@batch_norm_train_cast.register("cupy", supports=_supports_mixed)
def batch_norm_train_cast_cupy(x: Array, gamma: Array, beta: Array, *, eps: float, ranks: None = None) -> Results:
    """Equals :func:`npresnet.ops.batch_norm_train_cast`, without the images in gamma's dtype.

    Saves: x, mean, inv_std, gamma, beta.
    """
    return batch_norm(x, gamma, beta, eps)


@batch_norm_relu.register("cupy", supports=_supports_mixed)
def batch_norm_relu_cupy(x: Array, gamma: Array, beta: Array, *, eps: float, ranks: None = None) -> Results:
    """Equals :func:`npresnet.ops.batch_norm_relu`; gamma and beta may be wider than x.

    Where y > 0 is found again from x, by the arithmetic of the forward call.
    Saves: x, mean, inv_std, gamma, beta.
    """
    return batch_norm(x, gamma, beta, eps, RELU)


@batch_norm_add_relu.register("cupy", supports=_supports_add_relu)
def batch_norm_add_relu_cupy(x: Array, gamma: Array, beta: Array, s: Array, *, eps: float,
                             ranks: None = None) -> Results:
    """Equals :func:`npresnet.ops.batch_norm_add_relu`; gamma and beta may be wider than x and s.

    Saves: x, mean, inv_std, gamma, beta, y.
    """
    return batch_norm(x, gamma, beta, eps, ADD_RELU, s)


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float, epilogue: int = NOTHING,
               s: Array | None = None) -> Results:
    """y, pullback and (mean, var); parameters and statistics in gamma's dtype, sums in :func:`sum_dtype`."""
    x, xp, own, dtype = channels_last(x), array_namespace(x, gamma, beta, s), gamma.dtype, sum_dtype(x.dtype)
    gamma, beta = (xp.ascontiguousarray(a, dtype) for a in (gamma, beta))
    (mean, var, inv_std), result = statistics(x, eps), xp.empty_like(x)
    launch_rows("normalize", x, (x, mean, inv_std, gamma, beta, x if s is None else channels_last(s), result),
                (int(s is not None), int(epilogue != NOTHING)))
    y = result if epilogue == ADD_RELU else None

    def pullback(dy, skip=()):
        dy, dx = channels_last(dy, x.dtype), None
        dbeta, dgamma, ds = gradient_sums(dy, x, mean, inv_std, epilogue, y, gamma, beta)
        if "x" not in skip:
            dx = xp.empty_like(x)
            arrays = ds, x, mean, inv_std, gamma, beta, dbeta, dgamma, dx
            launch_rows("normalize_back", x, arrays, (int(epilogue == RELU),))
        dgamma, dbeta = (None if name in skip else d.astype(own, copy=False)
                         for name, d in (("gamma", dgamma), ("beta", dbeta)))
        found = None if dx is None else channels_first(dx), dgamma, dbeta
        return found if epilogue != ADD_RELU else (*found, None if "s" in skip else channels_first(ds))

    return channels_first(result), pullback, (mean.astype(own, copy=False), var.astype(own, copy=False))


def statistics(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Mean, variance and 1/√(σ² + ε) of each channel of (N, H, W, C)."""
    mean, var, inv_std = array_namespace(x).empty((3, x.shape[3]), sum_dtype(x.dtype))
    reduce_rows("moments", x, (x,), (), 3, (mean, var, inv_std), (float(eps),))
    return mean, var, inv_std


def gradient_sums(dy: Array, x: Array, mean: Array, inv_std: Array, epilogue: int, y: Array | None, gamma: Array,
                  beta: Array) -> tuple[Array, Array, Array]:
    """Σ dz and Σ dz·x̂ of each channel, and ds: dz for ADD_RELU, elsewhere dy as it is."""
    dbeta, dgamma = array_namespace(x).empty((2, x.shape[3]), sum_dtype(x.dtype))
    ds = array_namespace(x).empty_like(x) if epilogue == ADD_RELU else dy
    arrays = dy, x, x if y is None else y, mean, inv_std, gamma, beta, ds
    reduce_rows("gradient_sums", x, arrays, (epilogue,), 2, (dbeta, dgamma))
    return dbeta, dgamma, ds


class RowBlocks(NamedTuple):
    """How the blocks of a launch share the rows (N·H·W, C) of images, in packs of ``width`` channels."""

    rows: int
    packs: int
    width: int
    grid: tuple[int, int]
    block: tuple[int, int]

    @classmethod
    def of(cls, x: Array, arrays: Sequence[Array]) -> "RowBlocks":
        """For images x and the other arrays that the kernel reads."""
        channels = x.shape[3]
        width = pack_width(x.dtype, channels, *(a for a in arrays if a.size == x.size))
        rows, packs = x.size // channels, channels // width
        (across, _), block = block_row(packs)
        down = min(max(1, PARTS // across), -(-rows // (block[1] * ROWS)))
        return cls(rows, packs, width, (across, down), block)


def launch_rows(name: str, x: Array, arrays: Sequence[Array], numbers: Sequence[float] = ()) -> None:
    """Launch a kernel that walks over the rows of x."""
    rows, packs, width, grid, block = RowBlocks.of(x, arrays)
    launch(name, arrays, (rows, packs, *numbers), grid, block, width, x)


def reduce_rows(name: str, x: Array, arrays: Sequence[Array], numbers: Sequence[float], sums: int,
                results: Sequence[Array], join_numbers: Sequence[float] = ()) -> None:
    """Launch a kernel whose blocks leave ``sums`` numbers of each channel, and join_NAME, which makes ``results``."""
    rows, packs, width, grid, block = RowBlocks.of(x, arrays)
    parts = array_namespace(x).empty((grid[1], x.shape[3], sums), sum_dtype(x.dtype))
    launch(name, (*arrays, parts), (rows, packs, *numbers), grid, block, width, x)
    launch(f"join_{name}", (parts, *results), (grid[1], packs, *join_numbers), *block_row(packs), width, x)


def block_row(packs: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(grid, block) of one row of blocks over the packs of a pixel: as wide as they are, up to a warp."""
    across = min(32, 1 << (packs - 1).bit_length())
    return (-(-packs // across), 1), (across, BLOCK // across)
