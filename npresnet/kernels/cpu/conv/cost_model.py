"""What each algorithm costs for a convolution, and how its work is best partitioned: a small model of the machine.

Costs are in cycles of one core.  A tile of the product does LANES multiply-adds twice a cycle; weights arrive from the
last cache or memory at about 8 bytes a cycle; a transform costs about 100 cycles for each tile and vector of channels
(36 loads, about 150 additions, 36 stores).  Only comparisons matter, so that round numbers will do.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from ..codegen.tile import PANEL, SHAPES, WIDE
from ..codegen.vector import LANES

ROWS = SHAPES[WIDE]
PER_CYCLE = 2 * LANES         # multiply-adds
STREAM = 8                    # bytes of weights
TRANSFORM = {2: 45, 4: 100}   # cycles for one tile of one vector of channels, either way
CACHE = 768 * 1024            # bytes of a work item that stay close to a core
ITEM = 4000                   # cycles to start a work item
CHOOSING = 2                  # threads for which an algorithm is chosen: results are the same for any number of them


class Partition(NamedTuple):
    """How the work is shared, and its cost: rows (or tiles) in a block, and shares of the panels."""

    cost: float
    block: int
    splits: int


def cheapest(total: int, blocks: Iterable[int], threads: int, panels: int, cost: Callable[[int, int], float]) \
        -> Partition:
    """The cheapest of the ``blocks`` sizes and the possible splits, for ``total`` rows.

    ``cost(n, panels)`` is that of an item of n rows and so many panels.
    """
    choices = []
    for block in blocks:
        for splits in range(1, min(threads, panels) + 1):
            items = -(-total // block) * splits
            item = cost(min(block, total), -(-panels // splits)) + ITEM
            choices.append(Partition(-(-items // threads) * item, block, splits))
    return min(choices)


def ceil_div(total: int, part: int) -> int:
    """⌈total / part⌉"""
    return -(-total // part)


def panel_count(features: int) -> int:
    """How many panels so many filters take."""
    return -(-features // PANEL)


def product_cost(rows: int, depth: int, columns: int) -> float:
    """One product: arithmetic, or the stream of weights where there are too few rows to hide it."""
    computed = -(-rows // ROWS) * ROWS                                       # tiles have ROWS each
    return max(computed * depth * columns / PER_CYCLE, depth * columns * 4 / STREAM)


@lru_cache(4096)              # bounded: images may come in ever new sizes
def product_partition(pixels: int, channels: int, features: int, threads: int) -> Partition:
    """For a 1x1 convolution."""
    largest = max(ROWS, CACHE // 2 // (channels * 4))
    blocks = [b for b in (12, 24, 36, 48, 72, 96, 144, 192) if b <= largest] or [12]
    if pixels <= largest:
        blocks.append(pixels)
    return cheapest(pixels, blocks, threads, panel_count(features), lambda n, p: product_cost(n, channels, p * PANEL))


@lru_cache(4096)              # bounded: images may come in ever new sizes
def band_partition(images: int, height: int, width: int, depth: int, features: int, threads: int) -> Partition:
    """For a direct convolution: the block counts output rows of the image, ``depth`` = kh·kw·c."""
    blocks = [rows for rows in range(1, height + 1) if rows * width <= 448 or rows == 1]

    def cost(rows, p):
        return product_cost(rows * width, depth, p * PANEL) + (rows + 2) * width * depth / 9 / 4

    best = cheapest(height, blocks, threads if images == 1 else 1, panel_count(features), cost)
    return best._replace(cost=best.cost * (1 if images == 1 else images / min(threads, images)))


@lru_cache(4096)              # bounded: images may come in ever new sizes
def winograd_partition(m: int, tiles: int, channels: int, features: int, threads: int) -> Partition:
    """For F(m x m, 3 x 3): the block counts tiles."""
    area = (m + 2) ** 2

    def cost(n, p):
        columns = min(p * PANEL, features)
        transforms = n * channels / LANES * TRANSFORM[m], n * columns / LANES * TRANSFORM[m]
        spill = 1.1 if area * n * (channels + PANEL) * 4 > CACHE else 1
        return transforms[0] + area * product_cost(n, channels, columns) * spill + transforms[1]

    return cheapest(tiles, (6, 12, 18, 24, 30, 36, 48), threads, panel_count(features), cost)
