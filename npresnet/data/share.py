"""Which images of a batch, or of a dataset, are a rank's."""

from typing import NamedTuple


def portion(n: int, rank: int, size: int) -> slice:
    """Where the images of ``rank`` stand among n: ``size`` shares, one after another, that differ by one at most."""
    each, more = divmod(n, size)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


class Share(NamedTuple):
    """A rank's share of every batch.

    A batch is computed in ``parts``, one after another, and every part is shared; so a rank's images of a part are not
    always neighbours of those of the next one.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1

    def slices(self, n: int) -> list[slice]:
        """Where the rank's images stand in a batch of n: a slice for each part; it may be empty."""
        count = min(self.parts, n)
        whole = [portion(n, part, count) for part in range(count)]
        own = [portion(part.stop - part.start, self.rank, self.size) for part in whole]
        return [slice(part.start + cut.start, part.start + cut.stop) for part, cut in zip(whole, own)]


WHOLE = Share()
