"""Convolutions and classifiers on bfloat16, by each road that the processor can take.

``each`` of their entry points holds a bias in float32, ``last`` leads to the floor: 0 where a ReLU follows, else −∞.
"""

from functools import cache

from ..codegen.bfloat16 import FLOATS, HALVES, halves
from ..conv.elements import Kernels, make_kernels
from .pool import pool_rows


@cache
def kernels(road: str, wide: bool = False) -> Kernels:
    """The entry points of this road, one of :data:`~..codegen.bfloat16.ROADS`.

    Results are bfloat16 or, where they are ``wide``, float32, which cannot be pooled.
    """
    nbytes = FLOATS if wide else HALVES
    return make_kernels(halves(road, nbytes), nbytes, 4, pool_rows)
