"""How much of a network one page can hold: which channels, which pixels, which blocks are stored.

A small network is stored whole.  Of a larger one a few channels of each width are, the same in all layers of that
width, so that a channel can be followed along the stream; and the windows of a few output pixels, with every channel.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from ..backend import Array
from .trace import Trace

BUDGET = 10_500_000  # bytes of numbers in a page; in base64 a third more


class Detail(NamedTuple):
    """What is stored; None: all."""

    channels: int | None  # of each width
    lattice: int | None  # output pixels whose windows are: so many rows and columns
    blocks: int | None

    def __str__(self) -> str:
        if self.channels is None and self.blocks is None:
            return "Nothing is left out: every channel of every layer is here, in float32."
        parts = []
        if self.blocks is not None:
            parts.append(f"{self.blocks} blocks, spread evenly, have their maps here")
        if self.channels is not None:
            parts.append(f"{self.channels} channels of each width are here, those that moved the scores most")
            parts.append(f"sums can be opened at {self.lattice}×{self.lattice} pixels of a map")
        return f"To keep the page small, {'; '.join(parts)}. All is in float32."


DETAILS = tuple(
    Detail(*sizes)
    for sizes in (
        (None, None, None),
        (8, 3, None),
        (6, 3, None),
        (4, 2, None),
        (3, 2, None),
        (None, None, 20),
        (3, 2, 24),
        (2, 1, 6),
        (1, 1, 2),
    )
)


def chosen_channels(trace: Trace, detail: Detail) -> dict[int, Array]:
    """{width: channels} that are stored: those with the largest Σ |y · dy| over the layers of that width.

    y · dy is, to first order, what the score would lose without y.
    """
    moved: dict[int, Array] = defaultdict(lambda: np.zeros(()))
    for step in trace.steps:
        y, dy = images(step.y), images(step.dy)
        width = y.shape[1]
        moved[width] = moved[width] + abs(y * dy).sum(axis=(2, 3)).max(axis=0)
    return {
        width: np.arange(width)
        if detail.channels is None or width <= detail.channels
        else np.sort(np.argsort(-score, kind="stable")[: detail.channels])
        for width, score in moved.items()
    }


def chosen_pixels(size: tuple[int, int], detail: Detail) -> list[tuple[int, int]]:
    """A lattice of output pixels, evenly over an image of ``size``."""
    side = detail.lattice or 0
    rows, columns = ({(2 * k + 1) * length // (2 * side) for k in range(side)} for length in size)
    return [(row, column) for row in sorted(rows) for column in sorted(columns)]


def kept_steps(trace: Trace, blocks: list[str], detail: Detail) -> set[int]:
    """The steps of the blocks that are stored, and those whose outputs they read."""
    names = list(dict.fromkeys(blocks))
    inner = names[2:-1]  # between image and stem, and the scores
    if detail.blocks is not None and len(inner) > detail.blocks:
        inner = [inner[k] for k in np.linspace(0, len(inner) - 1, detail.blocks).round().astype(int)]
    wanted = {*names[:2], *inner, names[-1]}
    kept = {k for k, block in enumerate(blocks) if block in wanted}
    return kept | {source for k in kept for source in trace.steps[k].inputs}


def images(a: Array) -> Array:
    """(N, C) → (N, C, 1, 1): features and scores as images of one pixel."""
    return a[:, :, None, None] if a.ndim == 2 else a
