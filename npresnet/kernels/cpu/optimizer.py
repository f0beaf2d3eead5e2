"""The optimizer's step over all cores: one pass over a parameter, its gradient and its velocity."""

import numpy as np
from numba import njit

from ...backend import Array
from ...ops.update import momentum_step
from .activation import part_of, parts
from .arrays import empty_like, is_float32
from .codegen.vector import floats
from .program.entry_point import Address, entry_point

LARGE = 4096           # floats from which starting the threads pays


def supports(w, g, v, lr, *, momentum, nesterov=False, decay=0.0) -> bool:
    """Large contiguous arrays in float32, which a step after the first has."""
    return is_float32(w, g, v) and w.shape == g.shape == v.shape and w.size >= LARGE \
        and all(a.flags.c_contiguous for a in (w, g, v))


@momentum_step.register("numba", supports)
def momentum_step_numba(w: Array, g: Array, v: Array, lr: float, *, momentum: float, nesterov: bool = False,
                        decay: float = 0.0) -> tuple[Array, Array]:
    """Equals :func:`npresnet.ops.update.momentum_step`."""
    moved, velocity = empty_like(w), empty_like(w)
    factors = np.array([lr, momentum, decay], np.float32)
    step(parts(w.size), w, g, v, w.size, factors, nesterov, moved, velocity)
    return moved, velocity


@entry_point
def step(item, work, w: Address, g: Address, v: Address, n: int, factors: Address, nesterov: bool, moved: Address,
         velocity: Address):
    """A part of the step; ``factors`` = (lr, momentum, decay)."""
    at, count = part_of(item, n)
    _move(floats(w + at, count), floats(g + at, count), floats(v + at, count), floats(factors, 3), nesterov,
          floats(moved + at, count), floats(velocity + at, count))


@njit
def _move(w, g, v, factors, nesterov, moved, velocity):
    lr, momentum, decay = factors
    for k in range(len(w)):
        gradient = g[k] + decay * w[k]
        v_new = momentum * v[k] + gradient
        velocity[k] = v_new
        moved[k] = w[k] - lr * (gradient + momentum * v_new if nesterov else v_new)
