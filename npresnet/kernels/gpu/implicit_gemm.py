"""Convolutions whose columns never lie in memory (implicit_gemm.cu), with what follows them: bias, shortcut, ReLU."""

import numpy as np

from ...backend import Array, array_namespace
from .im2col import Columns
from .launch import ACCESS, BLOCK, MAX_THREADS, pack_size, supports_arrays
from .tiles import STAGES, Tile, Tiles, aligned, multiprocessors, sums_bytes, supports_gpu, tile_launcher

SOURCES = ("types.cuh", "warp.cuh", "implicit_gemm.cu")
CHUNKS = 8                       # of a row in a piece, as in implicit_gemm.cu
SMALL = 2**15                    # pixels of a side that a Corner or a Tap can number

# Pixels by filters.
TILES = Tiles(
    tensor=(Tile(256, 128, 64, 64, 1), Tile(128, 128, 64, 64, 2), Tile(128, 64, 64, 32, 3), Tile(64, 64, 32, 32, 4),
            Tile(128, 32, 32, 32, 3), Tile(128, 16, 32, 16, 4)),
    plain=(Tile(128, 64, 64, 32, 3), Tile(64, 64, 32, 32, 4), Tile(128, 32, 32, 32, 3), Tile(128, 16, 32, 16, 4)),
    double=(Tile(64, 64, 32, 32, 2), Tile(64, 16, 16, 16, 4)))


def shared(tile: Tile, dtype: np.dtype) -> int:
    """Bytes of shared memory: the pieces of both factors, and later the sums."""
    pieces = STAGES * (tile.rows + tile.columns) * CHUNKS * ACCESS
    return max(pieces, sums_bytes(tile.rows, tile.columns + 8, dtype))


def supports(columns: Columns, filters: int, *factors: Array) -> bool:
    """Whether columns need not lie in memory: both channels and filters of a group are whole packs, and aligned."""
    width, (n, c, *sides), (oh, ow) = pack_size(factors[0].dtype), columns.shape, columns.size
    in_packs = c // columns.groups % width == filters % width == 0
    small = max(sides) < SMALL and n * oh * ow * columns.groups * filters < MAX_THREADS
    known = supports_arrays(*factors) and aligned(*factors)
    return known and in_packs and small and supports_gpu(array_namespace(*factors))


def best_tile(x: Array, w: Array, columns: Columns, tf32: bool = False) -> Tile:
    """The tile of the lowest estimated cost."""
    (groups, filters, _), (oh, ow), processors = w.shape, columns.size, multiprocessors(array_namespace(x))
    return min(TILES.of(x.dtype, tf32), key=lambda tile: tile.cost(len(x) * oh * ow, filters, processors, groups))


def splits_for(x: Array, w: Array, columns: Columns, tile: Tile) -> int:
    """How many blocks share the sum of a tile where the tiles alone leave most multiprocessors idle."""
    (groups, filters, depth), (oh, ow) = w.shape, columns.size
    pieces = -(-depth * x.itemsize // (CHUNKS * ACCESS))
    idle = multiprocessors(array_namespace(x)) // (tile.grid(len(x) * oh * ow, filters) * groups)
    return max(1, min(idle, pieces // 4))


def implicit_gemm(x: Array, w: Array, columns: Columns, bias: Array | None = None, residual: Array | None = None,
                  floor: float = float("-inf"), *, out: Array | None = None, tile: Tile | None = None,
                  parts: Array | None = None, tf32: bool = False) -> Array:
    """max(X̃ Wᵀ + bias + residual, floor) as (N, oh, ow, F), for x (N, H, W, C) and w (G, F/G, kh·kw·C/G).

    ``bias`` is in x's :func:`sum_dtype`, and so is ``parts`` (splits, N, oh, ow, F), workspace for blocks that share
    a sum.
    """
    xp, (groups, filters, _), (oh, ow) = array_namespace(x, w, bias, residual), w.shape, columns.size
    y = xp.empty((len(x), oh, ow, groups * filters), x.dtype) if out is None else out
    tile = best_tile(x, w, columns, tf32) if tile is None else tile
    width, rows, splits = pack_size(x.dtype), len(x) * oh * ow, 1 if parts is None else len(parts)
    _, packs, *geometry = columns.numbers(width)
    tail = x if bias is None else bias, x if residual is None else residual, y
    what = splits, int(bias is not None), int(residual is not None), floor
    run = tile_launcher(xp, SOURCES, x.dtype, tile, tf32)
    run("implicit_gemm", (x, w, *tail, x if parts is None else parts), (rows, groups, filters, packs, *geometry, *what),
        tile.grid(rows, filters) * groups * splits, tile.threads, shared(tile, x.dtype))
    if splits > 1:
        run("join_splits", (parts, *tail), (y.size // width, groups * filters // width, *what),
            -(-y.size // width // BLOCK), BLOCK)
    return y
