"""Weights in the order the kernels read them, laid out once."""

import numpy as np

from .tile import PANEL
from .vector import LANES


def panels(columns: int):
    """(first column, columns) of each panel; ``columns`` is a multiple of LANES."""
    first = 0
    while first < columns:
        left = columns - first
        width = PANEL if left >= PANEL else 2 * LANES if left >= 2 * LANES else LANES
        yield first, width
        first += width


def pack(matrix):
    """(K, F) or a batch of them (E, K, F) -> one flat array: each panel's (E, K, width) after the other."""
    return np.concatenate([matrix[..., a:a + width].ravel() for a, width in panels(matrix.shape[-1])])


def round_up(channels: int) -> int:
    """The next multiple of LANES: what a channel count is padded to, with zero weights."""
    return -(-channels // LANES) * LANES


