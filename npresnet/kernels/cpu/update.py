"""Updates of a training step: one pass over a parameter, its gradient and its velocity; running statistics."""

import numpy as np

from ...backend import Array
from ...ops.update import momentum_step, moving_statistics
from .activation import part_of, parts
from .arrays import empty, empty_like, is_float32
from .codegen.jit import inlined
from .codegen.vector import doubles, floats
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


@inlined
def _move(w, g, v, factors, nesterov, moved, velocity):
    lr, momentum, decay = factors
    for k in range(len(w)):
        gradient = g[k] + decay * w[k]
        v_new = momentum * v[k] + gradient
        velocity[k] = v_new
        moved[k] = w[k] - lr * (gradient + momentum * v_new if nesterov else v_new)


def supports_statistics(running_mean, running_var, mean, var, *, momentum, correction=1.0) -> bool:
    """Contiguous arrays in float32."""
    arrays = running_mean, running_var, mean, var
    return is_float32(*arrays) and all(a.flags.c_contiguous and a.shape == mean.shape for a in arrays)


@moving_statistics.register("numba", supports_statistics)
def moving_statistics_numba(running_mean: Array, running_var: Array, mean: Array, var: Array, *, momentum: float,
                            correction: float = 1.0) -> tuple[Array, Array]:
    """Equals :func:`npresnet.ops.update.moving_statistics`."""
    factors, moved = np.array([momentum, correction]), empty((2, mean.size))
    move_statistics(1, running_mean, running_var, mean, var, mean.size, factors, moved)
    return moved[0], moved[1]


@entry_point
def move_statistics(item, work, running_mean: Address, running_var: Address, mean: Address, var: Address, n: int,
                    factors: Address, moved: Address):
    """(1 − momentum) · running + momentum · batch, twice; ``factors`` = (momentum, correction) in float64."""
    momentum, correction = doubles(factors, 2)
    for k in range(n):
        floats(moved, n)[k] = (1 - momentum) * floats(running_mean, n)[k] + momentum * floats(mean, n)[k]
        unbiased = np.float32(floats(var, n)[k] * correction)
        floats(moved + 4 * n, n)[k] = (1 - momentum) * floats(running_var, n)[k] + momentum * unbiased
