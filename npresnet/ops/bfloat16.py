"""Real numbers in 16 bits: the upper half of a float32, which is its sign, its exponent and 8 bits of precision.

[K] Kalamkar et al. 2019, A study of BFLOAT16 for deep learning training, arXiv:1905.12322
"""

import numpy as np

from ..backend import Array

NAN = 0x7FC0


def bfloat16_bits(x: Array) -> Array:
    """The bits of the nearest bfloat16, and of the even one where two are as near.                          [K] §2

    With u the bits of x as an integer, they are the upper half of u + 0x7FFF + (bit 16 of u): the lower half is cut off
    and what it was carries, from one above the middle, or from the middle where the upper half is odd.  The carry may
    go on into the exponent, and at its end makes ∞.  A NaN becomes the NaN without a sign.

    Shapes: x any, float32 or float64, which is rounded to float32 first → uint16 of its shape.

    >>> [f"{int(q):04x}" for q in bfloat16_bits(np.array([1, -2, 1 + 2**-8, 1 + 3 * 2**-8, np.inf]))]
    ['3f80', 'c000', '3f80', '3f82', '7f80']
    """
    x = np.asarray(x, np.float32)
    u = x.view(np.uint32)
    odd = u >> 16 & 1
    with np.errstate(over="ignore"):
        rounded = (u + 0x7FFF + odd) >> 16
    return np.where(np.isnan(x), NAN, rounded).astype(np.uint16)


def from_bfloat16_bits(bits: Array) -> Array:
    """The numbers that these bits are, in float32, exactly.

    Shapes: bits any, uint16 → float32 of its shape.

    >>> from_bfloat16_bits(np.array([0x3F80, 0xC000], np.uint16)).tolist()
    [1.0, -2.0]
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)
