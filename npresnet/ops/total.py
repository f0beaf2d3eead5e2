"""Sums over an array in any order of memory.

[H] Higham 1993, The accuracy of floating point summation
"""


def total(x, axis):
    """Σ x over some axes, added in float64 and rounded once, to the dtype of x.

    NumPy adds pairwise along the axis that lies closest in memory, with an error that grows like log m, and one by one
    along the others, where it grows like m [H].  So float32 sums over the pixels of channels-last images would lose a
    digit or two that those of other images keep.
    """
    return x.sum(axis=axis, dtype="float64").astype(x.dtype, copy=False)
