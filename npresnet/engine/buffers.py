"""Where each result lies in memory: results that are never live at the same time share a place."""

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

ALIGN = 64

Key = TypeVar("Key", bound=Hashable)


class LiveRange(NamedTuple):
    """A result's size, and the first and last step at which it must exist."""

    nbytes: int
    start: int
    end: int

    def overlaps(self, other: "LiveRange") -> bool:
        """Whether both are live at some step."""
        return self.start <= other.end and other.start <= self.end


def assign(ranges: Mapping[Key, LiveRange]) -> tuple[dict[Key, int], int]:
    """key -> offset in one arena, and the arena's size.  The largest are placed first, each as low as it fits."""
    placed, offsets = [], {}
    for key, result in sorted(ranges.items(), key=lambda item: -item[1].nbytes):
        offset = 0
        for first, stop, other in sorted(placed):
            if result.overlaps(other) and first < offset + result.nbytes and offset < stop:
                offset = stop
        stop = offset + -(-result.nbytes // ALIGN) * ALIGN
        placed.append((offset, stop, result))
        offsets[key] = offset
    return offsets, max((stop for _, stop, _ in placed), default=0)
