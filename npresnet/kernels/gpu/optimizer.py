"""What a training step moves besides, each in one launch."""

import numpy as np

from ...backend import array_namespace
from ...ops.update import momentum_step, moving_statistics
from .launch import fits, launch_each, wide, width_of


@momentum_step.register("cupy")
def momentum_step_cupy(w, g, v, lr, *, momentum, nesterov=False, decay=0.0):
    """Equals :func:`npresnet.ops.momentum_step`.  ``lr`` may be a number on the GPU."""
    if not fits(w, g, v) or w.shape != g.shape:
        return momentum_step.reference(w, g, v, lr, momentum=momentum, nesterov=nesterov, decay=decay)
    xp = array_namespace(w, g, v)
    w, g, before = (xp.ascontiguousarray(a) for a in (w, g, w if v is None else v))
    rate = xp.asarray(lr, wide(w.dtype)) if array_namespace(lr) is np else lr.astype(wide(w.dtype), copy=False)
    new_w, new_v = xp.empty_like(w), xp.empty_like(w)
    width = width_of(w.dtype, w.size, w, g, before, new_w, new_v)
    launch_each("momentum_step", (w, g, before, rate, new_w, new_v),
                (int(v is not None), int(nesterov), float(momentum), float(decay)), w.size // width, width)
    return new_w, new_v


@moving_statistics.register("cupy")
def moving_statistics_cupy(running_mean, running_var, mean, var, *, momentum, correction=1.0):
    """Equals :func:`npresnet.ops.moving_statistics`."""
    given = running_mean, running_var, mean, var
    if not fits(*given) or len({a.shape for a in given}) > 1 or not isinstance(momentum, int | float):
        return moving_statistics.reference(*given, momentum=momentum, correction=correction)
    xp = array_namespace(*given)
    given = [xp.ascontiguousarray(a) for a in given]
    new_mean, new_var = (xp.empty_like(a) for a in given[:2])
    width = width_of(mean.dtype, mean.size, *given, new_mean, new_var)
    launch_each("moving_statistics", (*given, new_mean, new_var), (float(momentum), float(correction)),
                mean.size // width, width)
    return new_mean, new_var
