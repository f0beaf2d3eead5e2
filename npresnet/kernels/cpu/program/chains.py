"""Launches that follow each other part by part: what one has written is in the cache when the next one reads it.

Many kernels go through the images one by one, or through parts of whole images.  Where several such launches follow
each other, all of them can run for a part of the images before the next part begins.  A launch of something else runs
before them if it shares no memory with any of them, otherwise behind them; what shares memory with it, begins the next
chain.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..codegen.jit import inlined

PARTS = 32               # of the images, at most, each the work of one thread


class Row(NamedTuple):
    """A launch as the thread pool reads it, and the memory that its arguments lead to.

    ``images`` > 0: items belong to images, ``each`` to one, image after image; or, where ``each`` is 0, one to a part.
    """

    kernel: int
    items: int
    numbers: list[int]
    spans: list[tuple[int, int, bool]]                       # of each array: first byte, one behind the last, shared
    images: int
    each: int
    work_bytes: int


def parts(images: int) -> int:
    """How many parts so many images are cut into."""
    return min(images, PARTS)


@inlined
def images_of(part, images):
    """(first, one behind the last) of the images of a part: from ⌊p·n/parts⌋ on."""
    count = min(images, PARTS)
    return part * images // count, (part + 1) * images // count


def chained(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in an order that computes the same, in chains; what is no part of a chain stands by itself."""
    done: list[list[Row]] = []
    chain: list[Row] = []
    after: list[Row] = []
    for row in rows:
        late = not all(_apart(row, other) for other in after)
        if row.images and not late and all(_shares_images(row, other) for other in chain):
            chain.append(row)
        elif row.images:
            done += [chain, *([other] for other in after)]
            chain, after = [row], []
        elif late or not all(_apart(row, other) for other in chain):
            after.append(row)
        else:
            done.append([row])                               # before the chain
    return [steps for steps in [*done, chain, *([other] for other in after)] if steps]


def _shares_images(row, other) -> bool:
    """Whether the memory of both is the same array's or apart: then each touches in it what belongs to an image, or
    both only read what all images share."""
    same = all(a == b or _disjoint(a, b) for a in row.spans for b in other.spans)
    return row.images == other.images and same


def _apart(row, other) -> bool:
    return all(_disjoint(a, b) for a in row.spans for b in other.spans)


def _disjoint(a, b) -> bool:
    return a[1] <= b[0] or b[1] <= a[0]
