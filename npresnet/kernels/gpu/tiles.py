"""Products whose factors pass through shared memory in pieces (*.cu): what a block makes of them."""

from functools import cache
from typing import NamedTuple

from .launch import ACCESS, enqueue, for_each_gpu, kernel, options, pack, wide

STAGES = 3                       # pieces on their way or in use
ARCHITECTURE = 80                # asynchronous copies came with Ampere
WARP = 32


class Tile(NamedTuple):
    """Rows and columns of a product that a block makes, and each of its warps; the blocks of a multiprocessor."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    blocks: int

    @property
    def threads(self) -> int:
        return self.rows // self.warp_rows * (self.columns // self.warp_columns) * WARP

    def grid(self, rows, columns) -> int:
        """How many make a product of this size."""
        return -(-rows // self.rows) * -(-columns // self.columns)

    def cost(self, rows, columns, processors, count=1) -> int:
        """Rounds of blocks, times what a block multiplies and copies: for choosing among tiles."""
        rounds = -(-self.grid(rows, columns) * count // processors)
        return rounds * (self.rows * self.columns + 32 * (self.rows + self.columns))

    def __str__(self):
        return f"{self.rows}x{self.columns}"


class Tiles(NamedTuple):
    """What there is to choose from, the largest first: on tensor cores, without them, in float64."""

    tensor: tuple[Tile, ...]
    plain: tuple[Tile, ...]
    double: tuple[Tile, ...]

    def of(self, dtype, tf32=False) -> tuple[Tile, ...]:
        return self.double if dtype.itemsize == 8 else self.tensor if on_tensor_cores(dtype, tf32) else self.plain


def on_tensor_cores(dtype, tf32=False) -> bool:
    return dtype.itemsize == 2 or (tf32 and dtype.itemsize == 4)


@cache
def told(dtype, tile, tf32=False) -> tuple[str, ...]:
    """What the compiler is told, besides the architecture."""
    names = "TILE_M", "TILE_N", "WARP_M", "WARP_N", "BLOCKS"
    numbers = tuple(f"-D{name}={number}" for name, number in zip(names, tile))
    cores = ("-DTENSOR_CORES",) if on_tensor_cores(dtype, tf32) else ()
    return (*options(dtype.name, pack(dtype)), *numbers, f"-DSTAGES={STAGES}", *cores)


def compiled(cupy, sources, dtype, tile, tf32):
    """What launches the kernels of ``sources`` compiled for a tile."""
    def run(name, arrays, numbers, blocks, threads, shared=0):
        function = kernel(cupy, name, told(dtype, tile, tf32), sources, shared)
        enqueue(function, arrays, numbers, (blocks,), (threads,), dtype, shared)

    return run


def aligned(*arrays) -> bool:
    return all(a.data.ptr % ACCESS == 0 for a in arrays)


def sums_bytes(rows, columns, dtype) -> int:
    return rows * columns * wide(dtype).itemsize


@for_each_gpu
def able(cupy) -> bool:
    """Whether this GPU has what these kernels are made of."""
    return int(cupy.cuda.Device().compute_capability) >= ARCHITECTURE


@for_each_gpu
def multiprocessors(cupy) -> int:
    return cupy.cuda.Device().attributes["MultiProcessorCount"]
