"""Sums that are exact to rounding, whatever the array's memory order.

[H] Higham 1993, The accuracy of floating point summation
"""


from ..backend import Array


def total(x: Array, axis: int | tuple[int, ...]) -> Array:
    """Σ x over some axes, added in float64 and rounded once, to the dtype of x.

    NumPy adds pairwise along the axis that is contiguous in memory, with an error that grows like log m, and one by one
    along the others, where it grows like m [H].  In float32, sums over the pixels of channels-last images would lose a
    digit or two that sums over channels-first images keep.
    """
    return x.sum(axis=axis, dtype="float64").astype(x.dtype, copy=False)
