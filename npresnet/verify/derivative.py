"""The derivative of a function of one number by finite differences, and the places where it has none.

Two steps, h and h/2, on either side of 0 give the slope from the right and from the left, each without the term of the
curvature:

    R± = 2 D±(h/2) − D±(h) = f′ + O(h²)        with D±(h) = (f(±h) − f(0)) / ±h

Where f is smooth the two differ by O(h³); where a kink lies within h they differ by the jump of the slope.  So no
single h is trusted: an entry whose two slopes disagree is measured again with smaller steps, and one on which they
never agree has no derivative here.  The value is Richardson's:

    f′ = (4 D(h/2) − D(h)) / 3 + O(h⁴)         with D(h) = (f(h) − f(−h)) / 2h
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..backend import Array

STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
SETTLED = 1e-7  # how far the two slopes may differ, in units of the derivative's root mean square
UNSETTLED_SHARE = 0.01  # smaller steps are taken while more than this part of the entries has not settled


class Slope(NamedTuple):
    """The derivative of every entry of f (0 at a kink), where the kinks are, and what rounding may add to an entry."""

    value: Array
    kinks: Array
    noise: float


def derivative(
    f: Callable[[float], Array], y: Array, steps: Sequence[float] = STEPS, settled: float = SETTLED
) -> Slope:
    """f′(0) of an array-valued f with f(0) = y; nan, and no kink, where f or its slope is not finite."""
    if not (y.size and np.isfinite(y).all()):
        return Slope(np.full(y.shape, np.nan), np.zeros(y.shape, bool), 0.0)
    value, kinks, noise = _measure(f, y, steps[0], settled)
    for h in steps[1:]:
        if kinks.mean() <= UNSETTLED_SHARE:
            break
        finer, rough, finer_noise = _measure(f, y, h, settled)
        if (kinks & ~rough | ~np.isfinite(value)).any():
            value, noise = np.where(kinks, finer, value), finer_noise
        kinks = kinks & rough
    kinks = kinks & np.isfinite(value)
    return Slope(np.where(kinks, 0, value), kinks, noise)


def _measure(f, y, h, settled):
    """f′(0) from the steps h and h/2, the entries on which the two sides disagree, and the rounding of one entry."""
    right, left, near_right, near_left = f(h), f(-h), f(h / 2), f(-h / 2)
    value = (8 * (near_right - near_left) - (right - left)) / (6 * h)  # (4 D(h/2) − D(h)) / 3
    gap = abs(4 * (near_right + near_left) - (right + left) - 6 * y) / h  # |R₊ − R₋|
    noise = 16 * np.finfo(np.float64).eps * float(abs(y).max(initial=0)) / h
    return value, ~(gap <= settled * float(np.sqrt((value**2).mean())) + noise), noise
