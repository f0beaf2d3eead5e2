"""Convolutions whose columns never lie in memory (direct.cu), with what follows them: bias, shortcut, ReLU."""

from functools import cache
from typing import NamedTuple

from ...backend import array_namespace
from .launch import ACCESS, BLOCK, LARGEST, enqueue, fits, kernel, options, wide

SOURCES = ("types.cuh", "warp.cuh", "direct.cu")
ARCHITECTURE = 80                # asynchronous copies came with Ampere
CHUNKS, STAGES, WARP = 8, 3, 32  # as in direct.cu
SMALL = 2**15                    # pixels of a side that a Corner can number


class Tile(NamedTuple):
    """What a block makes, and each of its warps: pixels by filters; how many blocks share a multiprocessor."""

    pixels: int
    filters: int
    warp_pixels: int
    warp_filters: int
    blocks: int

    @property
    def threads(self) -> int:
        return self.pixels // self.warp_pixels * (self.filters // self.warp_filters) * WARP

    def shared(self, dtype) -> int:
        """Bytes: the pieces of both factors, and later the sums."""
        pieces = STAGES * (self.pixels + self.filters) * CHUNKS * ACCESS
        return max(pieces, self.pixels * (self.filters + 8) * wide(dtype).itemsize)

    def grid(self, rows, filters, groups=1) -> int:
        return -(-rows // self.pixels) * -(-filters // self.filters) * groups

    def __str__(self):
        return f"{self.pixels}x{self.filters}"


TENSOR = (Tile(256, 128, 64, 64, 1), Tile(128, 128, 64, 64, 2), Tile(128, 64, 64, 32, 3), Tile(64, 64, 32, 32, 4),
          Tile(128, 32, 32, 32, 3), Tile(128, 16, 32, 16, 4))
PLAIN = (Tile(128, 64, 64, 32, 3), Tile(64, 64, 32, 32, 4), Tile(128, 32, 32, 32, 3), Tile(128, 16, 32, 16, 4))
DOUBLE = (Tile(64, 64, 32, 32, 2), Tile(64, 16, 16, 16, 4))


def on_tensor_cores(dtype, tf32) -> bool:
    return dtype.itemsize == 2 or (tf32 and dtype.itemsize == 4)


def tiles(dtype, tf32=False) -> tuple[Tile, ...]:
    """Those there are, the largest first."""
    return DOUBLE if dtype.itemsize == 8 else TENSOR if on_tensor_cores(dtype, tf32) else PLAIN


def suits(x, w, columns) -> bool:
    """Whether direct.cu can convolve images (N, H, W, C) with w (G, F/G, kh·kw·C/G): channels in whole packs."""
    width, (groups, filters, _), (oh, ow) = ACCESS // x.itemsize, w.shape, columns.size
    whole = columns.shape[1] // groups % width == filters % width == 0
    aligned = x.data.ptr % ACCESS == w.data.ptr % ACCESS == 0
    small = max(columns.shape[2:]) < SMALL and len(x) * oh * ow * groups * filters < LARGEST
    return fits(x, w) and whole and aligned and small and _able(array_namespace(x))


@cache
def _able(cupy) -> bool:
    return int(cupy.cuda.Device().compute_capability) >= ARCHITECTURE


@cache
def multiprocessors(cupy) -> int:
    return cupy.cuda.Device().attributes["MultiProcessorCount"]


def best_tile(x, w, columns, tf32=False) -> Tile:
    """The tile whose blocks are done first, by a model: rounds of blocks times what a block multiplies and copies."""
    (groups, filters, _), (oh, ow) = w.shape, columns.size
    rows, processors = len(x) * oh * ow, multiprocessors(array_namespace(x))

    def cost(tile):
        rounds = -(-tile.grid(rows, filters, groups) // processors)
        return rounds * (tile.pixels * tile.filters + 32 * (tile.pixels + tile.filters))

    return min(tiles(x.dtype, tf32), key=cost)


def splits_for(x, w, columns, tile) -> int:
    """How many blocks share the sum of a tile where the tiles alone leave most multiprocessors idle."""
    (groups, filters, depth), (oh, ow) = w.shape, columns.size
    pieces = -(-depth * x.itemsize // (CHUNKS * ACCESS))
    idle = multiprocessors(array_namespace(x)) // tile.grid(len(x) * oh * ow, filters, groups)
    return max(1, min(idle, pieces // 4))


def direct(x, w, columns, bias=None, residual=None, floor=float("-inf"), *, out=None, tile=None, parts=None,
           tf32=False):
    """max(X̃ Wᵀ + bias + residual, floor) as (N, oh, ow, F), for x (N, H, W, C) and w (G, F/G, kh·kw·C/G).

    ``bias`` is in ``wide``.  ``parts`` (splits, N, oh, ow, F) in ``wide`` is room for blocks that share a sum.
    """
    xp, (groups, filters, _), (oh, ow) = array_namespace(x, w, bias, residual), w.shape, columns.size
    y = xp.empty((len(x), oh, ow, groups * filters), x.dtype) if out is None else out
    tile = best_tile(x, w, columns, tf32) if tile is None else tile
    width, rows, splits = ACCESS // x.itemsize, len(x) * oh * ow, 1 if parts is None else len(parts)
    _, packs, *geometry = columns.numbers(width)
    tail = x if bias is None else bias, x if residual is None else residual, y
    what = splits, int(bias is not None), int(residual is not None), floor
    run = compiled(xp, x.dtype, tile, tf32)
    run("direct", (x, w, *tail, x if parts is None else parts), (rows, groups, filters, packs, *geometry, *what),
        tile.grid(rows, filters, groups) * splits, tile.threads, tile.shared(x.dtype))
    if splits > 1:
        run("join_splits", (parts, *tail), (y.size // width, groups * filters // width, *what),
            -(-y.size // width // BLOCK), BLOCK)
    return y


def compiled(cupy, dtype, tile, tf32):
    """What launches the kernels of direct.cu compiled for a tile."""
    def run(name, arrays, numbers, blocks, threads, shared=0):
        function = kernel(cupy, name, told(dtype, tile, tf32), SOURCES, shared)
        enqueue(function, arrays, numbers, (blocks,), (threads,), dtype, shared)

    return run


def told(dtype, tile, tf32=False) -> tuple[str, ...]:
    """What the compiler is told, besides the architecture."""
    names = "TILE_M", "TILE_N", "WARP_M", "WARP_N", "BLOCKS"
    numbers = tuple(f"-D{name}={number}" for name, number in zip(names, tile))
    cores = ("-DTENSOR_CORES",) if on_tensor_cores(dtype, tf32) else ()
    return (*options(dtype.name, ACCESS // dtype.itemsize), *numbers, f"-DSTAGES={STAGES}", *cores)
