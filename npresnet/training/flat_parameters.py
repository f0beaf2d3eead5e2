"""Many parameters side by side in one array, so that a step of SGD is a few kernel launches for all of them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from ..backend import Array, array_namespace
from ..ops import momentum_step
from .optim import SGD

ALIGNED = 64  # numbers: each array begins at a multiple of 16 bytes and of a cache line


class Flat:
    """One array of zeros, ``array``, and ``parts``: views of it with the shapes of ``arrays``, one after another.

    One launch on ``array`` changes all parts.
    """

    def __init__(self, xp: Any, arrays: Sequence[Array]) -> None:
        sizes = [-(-array.size // ALIGNED) * ALIGNED for array in arrays]
        starts = accumulate(sizes, initial=0)
        self.array = xp.zeros(sum(sizes), dtype=arrays[0].dtype)
        self.parts = [
            self.array[start : start + array.size].reshape(array.shape) for start, array in zip(starts, arrays)
        ]

    def fill(self, arrays: Iterable[Array | float | None]) -> None:
        """Copy each of ``arrays`` into its part."""
        for part, array in zip(self.parts, arrays, strict=True):
            part[...] = array


class ParameterGroup:
    """Parameters that share a weight decay; their values w, gradients g and velocities v are a :class:`Flat` each.

    The parameters' values and the optimizer's velocities become views of those.
    """

    def __init__(self, xp: Any, optimizer: SGD, names: Sequence[str], decay: float) -> None:
        self.parameters = [optimizer.parameters[name] for name in names]
        self.static = {"momentum": optimizer.momentum, "nesterov": optimizer.nesterov, "decay": decay}
        values, keys = [parameter.value for parameter in self.parameters], [f"velocity/{name}" for name in names]
        self.w, self.g, self.v = (Flat(xp, values) for _ in range(3))
        self.w.fill(values)
        self.v.fill(optimizer.state.get(key, 0) for key in keys)  # v ← μ·0 + g is the first step's v ← g
        for parameter, part in zip(self.parameters, self.w.parts):
            parameter.value = part
        optimizer.state.update(zip(keys, self.v.parts))

    def gather_gradients(self, factor: Array | float) -> Array:
        """g ← factor · the parameters' gradients; returns Σ g²."""
        self.g.fill(parameter.grad for parameter in self.parameters if parameter.grad is not None)
        self.g.array *= factor
        return (self.g.array * self.g.array).sum()

    def step(self, rate: Array, when: Array) -> None:
        """One step of momentum where ``when`` is true, and none where it is false."""
        w, v = momentum_step(self.w.array, self.g.array, self.v.array, rate, **self.static)
        assign_where(when, self.w.array, w)
        assign_where(when, self.v.array, v)


def assign_where(when: Array, target: Array, values: Array) -> Array:
    """Copy ``values`` into ``target`` where ``when`` is true, without a branch on the host; returns ``target``."""
    target[...] = array_namespace(target).where(when, values, target)
    return target
