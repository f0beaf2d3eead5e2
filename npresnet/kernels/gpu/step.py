"""One step of SGD for one parameter, in one pass."""

import numpy as np

from ...backend import array_namespace
from ...ops.step import momentum_step
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
