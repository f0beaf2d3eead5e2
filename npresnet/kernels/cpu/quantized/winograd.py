"""3x3 convolutions of levels by Winograd's F(m x m, 3 x 3): :mod:`npresnet.ops.integer_winograd`, channels last.

Two integers of 16 bits make an element of V and U, and their products are summed in pairs: half as many at a time as of
bytes, but 2.25 or 4 times fewer.
"""

from functools import cache

from ....ops.integer_winograd import integer_transforms
from ..codegen.octets import EACH, load_words, make_scatter, words
from ..codegen.tile import make_multiply
from ..codegen.transform import make_gather
from ..conv.winograd import Numbers, make_items
from ..program.entry_point import Address, EntryPoint, Pair, Shape, Shared, entry_point


@cache
def winograd(m: int, road: str) -> EntryPoint:
    """The entry point of F(m x m, 3 x 3) by this road, one of :data:`~..codegen.dot.ROADS`."""
    bt, _, at, inverse, shift = integer_transforms(m)
    gather, scatter = make_gather(bt, load_words), make_scatter(at, inverse, shift)
    items = make_items(m, Numbers(make_multiply(words(road)), 0, gather, scatter, 2, 1, EACH))

    def function(item, work, x: Address, shape: Shape, padding: Pair, u: Shared, each: Shared, y: Address,
                 out_shape: Shape, residual: Address, rounding: Shared, block: int, splits: int, outside: Shared):
        """As :func:`..conv.winograd.make_items`; ``outside`` is a pixel of the level z."""
        items(item, work, x, shape, padding, u, each, y, out_shape, residual, rounding, block, splits, 1, outside)

    function.__name__ = f"integer_winograd{m}_{road}"
    return entry_point(function)
