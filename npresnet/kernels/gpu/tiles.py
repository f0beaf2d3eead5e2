"""Products whose factors pass through shared memory in pieces (*.cu): the tile that a block computes, and launches."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...backend import Array
from .launch import ACCESS, cache_per_gpu, compile_options, enqueue, kernel, pack_size, sum_dtype

STAGES = 3                       # pieces on their way or in use
ARCHITECTURE = 80                # asynchronous copies came with Ampere
WARP = 32


class Tile(NamedTuple):
    """Rows and columns of a product that a block computes, and each of its warps; the blocks of a multiprocessor."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    blocks: int

    @property
    def threads(self) -> int:
        return self.rows // self.warp_rows * (self.columns // self.warp_columns) * WARP

    def grid(self, rows: int, columns: int) -> int:
        """How many tiles cover a product of this size."""
        return -(-rows // self.rows) * -(-columns // self.columns)

    def cost(self, rows: int, columns: int, processors: int, count: int = 1) -> int:
        """The estimated cost of ``count`` products: rounds of blocks, times what a block multiplies and copies."""
        rounds = -(-self.grid(rows, columns) * count // processors)
        return rounds * (self.rows * self.columns + 32 * (self.rows + self.columns))

    def __str__(self):
        return f"{self.rows}x{self.columns}"


class Tiles(NamedTuple):
    """The tiles that exist, the largest first: on tensor cores, without them, in float64."""

    tensor: tuple[Tile, ...]
    plain: tuple[Tile, ...]
    double: tuple[Tile, ...]

    def of(self, dtype: np.dtype, tf32: bool = False) -> tuple[Tile, ...]:
        """Those for arrays of ``dtype``."""
        return self.double if dtype.itemsize == 8 else self.tensor if on_tensor_cores(dtype, tf32) else self.plain


def on_tensor_cores(dtype: np.dtype, tf32: bool = False) -> bool:
    """Whether products of this dtype run on tensor cores."""
    return dtype.itemsize == 2 or (tf32 and dtype.itemsize == 4)


@cache
def tile_options(dtype: np.dtype, tile: Tile, tf32: bool = False) -> tuple[str, ...]:
    """The compiler's options, but for the architecture, for the kernels of a tile."""
    names = "TILE_M", "TILE_N", "WARP_M", "WARP_N", "BLOCKS"
    numbers = tuple(f"-D{name}={number}" for name, number in zip(names, tile))
    cores = ("-DTENSOR_CORES",) if on_tensor_cores(dtype, tf32) else ()
    return (*compile_options(dtype.name, pack_size(dtype)), *numbers, f"-DSTAGES={STAGES}", *cores)


def tile_launcher(cupy: Any, sources: tuple[str, ...], dtype: np.dtype, tile: Tile, tf32: bool) -> Callable[..., None]:
    """The function that launches kernels of ``sources`` compiled for a tile."""
    def run(name: str, arrays: Sequence[Array], numbers: Sequence[float], blocks: int, threads: int, shared: int = 0):
        function = kernel(cupy, name, tile_options(dtype, tile, tf32), sources, shared)
        enqueue(function, arrays, numbers, (blocks,), (threads,), dtype, shared)

    return run


def aligned(*arrays: Any) -> bool:
    """Whether the memory of all these begins at a whole access."""
    return all(a.data.ptr % ACCESS == 0 for a in arrays)


def sums_bytes(rows: int, columns: int, dtype: np.dtype) -> int:
    """Bytes of a tile's sums."""
    return rows * columns * sum_dtype(dtype).itemsize


@cache_per_gpu
def supports_gpu(cupy: Any) -> bool:
    """Whether the current GPU has the instructions of these kernels."""
    return int(cupy.cuda.Device().compute_capability) >= ARCHITECTURE


@cache_per_gpu
def multiprocessors(cupy: Any) -> int:
    """How many the current GPU has."""
    return cupy.cuda.Device().attributes["MultiProcessorCount"]
