"""What a training step updates besides gradients, each in one launch."""

from typing import Any

import numpy as np

from ...backend import Array, array_namespace
from ...ops.update import momentum_step, moving_statistics
from .launch import launch_each, pack_width, sum_dtype, supports_arrays


def _supports_momentum(w: Array, g: Array, v: Array | None, lr: Any, **options) -> bool:
    return supports_arrays(w, g, v) and w.shape == g.shape


@momentum_step.register("cupy", supports=_supports_momentum)
def momentum_step_cupy(w: Array, g: Array, v: Array | None, lr: Any, *, momentum: float,
                       nesterov: bool = False, decay: float = 0.0) -> tuple[Array, Array]:
    """Equals :func:`npresnet.ops.momentum_step`.  ``lr`` may be a number on the GPU."""
    xp = array_namespace(w, g, v)
    w, g, before = (xp.ascontiguousarray(a) for a in (w, g, w if v is None else v))
    dtype = sum_dtype(w.dtype)
    rate = xp.asarray(lr, dtype) if array_namespace(lr) is np else lr.astype(dtype, copy=False)
    new_w, new_v = xp.empty_like(w), xp.empty_like(w)
    width = pack_width(w.dtype, w.size, w, g, before, new_w, new_v)
    launch_each("momentum_step", (w, g, before, rate, new_w, new_v),
                (int(v is not None), int(nesterov), float(momentum), float(decay)), w.size // width, width)
    return new_w, new_v


def _supports_statistics(running_mean: Array, running_var: Array, mean: Array, var: Array, *, momentum: float,
                         correction: float = 1.0) -> bool:
    given = running_mean, running_var, mean, var
    return supports_arrays(*given) and len({a.shape for a in given}) == 1 and isinstance(momentum, int | float)


@moving_statistics.register("cupy", supports=_supports_statistics)
def moving_statistics_cupy(running_mean: Array, running_var: Array, mean: Array, var: Array, *, momentum: float,
                           correction: float = 1.0) -> tuple[Array, Array]:
    """Equals :func:`npresnet.ops.moving_statistics`."""
    xp = array_namespace(running_mean, running_var, mean, var)
    given = [xp.ascontiguousarray(a) for a in (running_mean, running_var, mean, var)]
    new_mean, new_var = (xp.empty_like(a) for a in given[:2])
    width = pack_width(mean.dtype, mean.size, *given, new_mean, new_var)
    launch_each("moving_statistics", (*given, new_mean, new_var), (float(momentum), float(correction)),
                mean.size // width, width)
    return new_mean, new_var
