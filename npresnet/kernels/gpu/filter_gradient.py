"""The filters' gradient without columns in memory (filter_gradient.cu)."""

import numpy as np

from ...backend import Array, array_namespace
from .im2col import Columns
from .launch import BLOCK, pack_size, sum_dtype
from .tiles import STAGES, Tile, Tiles, multiprocessors, tile_launcher

SOURCES = ("types.cuh", "warp.cuh", "filter_gradient.cu")
PIXELS = 32                      # of a piece, as in filter_gradient.cu
ROUNDS = 2                       # blocks for each place on the GPU, so that the last ones do not keep all waiting
PIECES = 8                       # that a block should have at least

# Filters by columns (i, j, c).
TILES = Tiles(
    tensor=(Tile(128, 128, 64, 64, 2), Tile(64, 128, 32, 64, 3), Tile(64, 64, 32, 32, 4), Tile(32, 128, 32, 32, 4),
            Tile(16, 128, 16, 32, 4)),
    plain=(Tile(128, 64, 64, 32, 3), Tile(64, 64, 32, 32, 4), Tile(32, 128, 32, 32, 4)),
    double=(Tile(64, 64, 32, 32, 2), Tile(16, 64, 16, 16, 4)))


def shared(tile: Tile, dtype: np.dtype) -> int:
    """Bytes of shared memory: the pieces of both factors."""
    return STAGES * PIXELS * (tile.rows + tile.columns) * dtype.itemsize


def implicit_filter_gradient(x: Array, dy: Array, columns: Columns, tile: Tile | None = None, splits: int | None = None,
                             tf32: bool = False) -> Array:
    """dW = dYᵀ X̃ as (G, F/G, kh·kw·C/G) in x's :func:`sum_dtype`, for x (N, H, W, C) and dy (N, oh, ow, F)."""
    xp, groups, rows = array_namespace(x, dy), columns.groups, dy.size // dy.shape[3]
    filters, processors, width = dy.shape[3] // groups, multiprocessors(xp), pack_size(x.dtype)
    tile = tile or min(TILES.of(x.dtype, tf32), key=lambda tile: tile.cost(filters, columns.depth, 1, groups))
    blocks = tile.grid(filters, columns.depth) * groups
    splits = splits or max(1, min(ROUNDS * tile.blocks * processors // blocks, rows // (PIXELS * PIECES)))
    _, packs, *geometry = columns.numbers(width)
    parts = xp.empty((splits, groups, filters, columns.depth), sum_dtype(x.dtype))
    run = tile_launcher(xp, SOURCES, x.dtype, tile, tf32)
    run("filter_gradient", (dy, x, parts), (rows, groups, filters, packs, *geometry, splits), blocks * splits,
        tile.threads, shared(tile, x.dtype))
    if splits == 1:
        return parts[0]
    dw = xp.empty(parts.shape[1:], parts.dtype)
    run("join_gradients", (parts, dw), (dw.size, splits), -(-dw.size // BLOCK), BLOCK)
    return dw
