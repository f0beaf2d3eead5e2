"""The optimiser's step over all cores: one pass over a parameter, its gradient and its velocity."""

import numpy as np
from numba import njit, prange

from ...ops.update import momentum_step
from .arrays import empty_like
from .codegen.jit import parallel
from .codegen.vector import floats

PART = 16384           # floats in a work item
LARGE = 4096           # floats from which a pass is worth starting


@momentum_step.register("numba")
def momentum_step_numba(w, g, v, lr, *, momentum, nesterov=False, decay=0.0):
    """Equals :func:`npresnet.ops.update.momentum_step`."""
    if w.size < LARGE or not all(_flat(a) and a.shape == w.shape for a in (w, g, v)):
        return momentum_step.reference(w, g, v, lr, momentum=momentum, nesterov=nesterov, decay=decay)
    moved, velocity = empty_like(w), empty_like(w)
    factors = np.array([lr, momentum, decay], np.float32)
    _step(w, g, v, w.size, factors, nesterov, moved, velocity)
    return moved, velocity


def _flat(a) -> bool:
    return isinstance(a, np.ndarray) and a.dtype == np.float32 and a.flags.c_contiguous


@parallel
def _step(w, g, v, n, factors, nesterov, moved, velocity):
    factors = floats(factors, 3)
    for start in prange((n + PART - 1) // PART):
        at, count = start * PART * 4, min(PART, n - start * PART)
        _move(floats(w + at, count), floats(g + at, count), floats(v + at, count), factors, nesterov,
              floats(moved + at, count), floats(velocity + at, count))


@njit
def _move(w, g, v, factors, nesterov, moved, velocity):
    lr, momentum, decay = factors
    for k in range(len(w)):
        slope = g[k] + decay * w[k]
        speed = momentum * v[k] + slope
        velocity[k] = speed
        moved[k] = w[k] - lr * (slope + momentum * speed if nesterov else speed)
