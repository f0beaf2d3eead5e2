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


GAP = 16     # floats after each transformed element, so that the elements of one place do not share a cache set


def pack(matrix):
    """(K, F) -> one flat array: each panel's (K, width) after the other."""
    return np.concatenate([matrix[:, a:a + width].ravel() for a, width in panels(matrix.shape[1])])


def pack_elements(matrices):
    """(E, K, F) -> one flat array: each panel's (E, K * width + GAP) after the other."""
    parts = [matrices[..., a:a + width].reshape(len(matrices), -1) for a, width in panels(matrices.shape[2])]
    return np.concatenate([np.pad(part, ((0, 0), (0, GAP))).ravel() for part in parts])


def round_up(channels: int) -> int:
    """The next multiple of LANES: what a channel count is padded to, with zero weights."""
    return -(-channels // LANES) * LANES


