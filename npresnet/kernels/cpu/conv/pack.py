"""Weights in the order the kernels read them, laid out once."""

from collections.abc import Iterator

import numpy as np

from ....backend import Array
from ..codegen.tile import PANEL
from ..codegen.vector import LANES


def panels(columns: int) -> Iterator[tuple[int, int]]:
    """(first column, columns) of each panel; ``columns`` is a multiple of LANES."""
    first = 0
    while first < columns:
        left = columns - first
        width = PANEL if left >= PANEL else 2 * LANES if left >= 2 * LANES else LANES
        yield first, width
        first += width


GAP = 16     # floats after each transformed element, so that the elements of one place do not share a cache set


def pack(matrix: Array) -> Array:
    """(K, F) -> one flat array: each panel's (K, width) after the other."""
    return np.concatenate([matrix[:, a:a + width].ravel() for a, width in panels(matrix.shape[1])])


def elements(matrix: Array) -> Array:
    """Weights (K, F) of 8 or 16 bits → (K/n, F) int32, each of n neighbours of a column, the first lowest; n divides K.

    Of 32 bits they are elements already.
    """
    n = 4 // matrix.itemsize
    if n == 1:
        return matrix
    k, f = matrix.shape
    return np.ascontiguousarray(matrix.reshape(k // n, n, f).swapaxes(1, 2)).view(np.int32)[..., 0]


def element_panels(elements: int, rows: int, columns: int) -> tuple[Array, list[tuple[int, Array]]]:
    """A flat array of zeros with a place for (E, K, F), each panel's (E, K * width + GAP) after the other.

    Returns it, and (first column, (E, K, width) view) of each panel.
    """
    sizes = [(first, width, elements * (rows * width + GAP)) for first, width in panels(columns)]
    packed, start, parts = np.zeros(sum(size for *_, size in sizes), np.float32), 0, []
    for first, width, size in sizes:
        lines = packed[start:start + size].reshape(elements, -1)
        parts.append((first, lines[:, :rows * width].reshape(elements, rows, width)))
        start += size
    return packed, parts


def round_up(channels: int) -> int:
    """The next multiple of LANES: what a channel count is padded to, with zero weights."""
    return -(-channels // LANES) * LANES


def merged_groups(shape: tuple[int, ...], groups: int) -> int:
    """How many groups are left of filters (F, C/G, kh, kw) once each has whole vectors of them; 1 where that cannot be.

    Neighbouring groups are merged into one; what does not belong together gets weight zero.
    """
    filters = shape[0] // groups
    if shape[1] * groups % LANES:
        return 1
    merge = next((k for k in range(1, groups + 1) if groups % k == 0 and k * filters % LANES == 0), groups)
    return groups // merge
