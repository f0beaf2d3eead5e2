"""Convolutions and classifiers on levels of 8 bits, by each road that the processor can take.

``each`` of their entry points holds a correction, a bias and a multiplier, ``last`` the numbers of
:data:`~..codegen.octets.FIELDS`, both from :mod:`.pack`; ``outside`` is the zero point of x.
"""

from functools import cache

from ..codegen.octets import EACH, octets
from ..conv.elements import Kernels, make_kernels
from .pool import pool_rows


@cache
def kernels(road: str) -> Kernels:
    """The entry points of this road, one of :data:`~..codegen.dot.ROADS`."""
    return make_kernels(octets(road), 1, EACH, pool_rows)
