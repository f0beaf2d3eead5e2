"""What the kernels here read beside levels and weights: the numbers that round sums to 8 bits."""

import numpy as np

from ....backend import Array
from ..codegen.octets import FIELDS
from ..codegen.vector import LANES


def each_filter(correction: Array, bias: Array, multiplier: Array) -> Array:
    """What every filter adds to its sums, a vector of filters at a time: (F/LANES, 3, LANES), as float32.

    The correction is an integer, and stays one: its bits lie among the floats.
    """
    parts = correction.astype(np.int32).view(np.float32), bias.astype(np.float32), multiplier.astype(np.float32)
    return np.ascontiguousarray(np.stack([part.reshape(-1, LANES) for part in parts], 1))


def rounding(**numbers: float) -> Array:
    """The named :data:`~..codegen.octets.FIELDS` in their order; those not named are 0."""
    fields = np.zeros(len(FIELDS), np.float32)
    for name, value in numbers.items():
        place = FIELDS.index(name)
        kept = fields.view(np.int32) if name in ("zero", "sum_zero") else fields
        kept[place] = value
    return fields
