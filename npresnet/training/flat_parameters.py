"""Many arrays as one, so that a step of the optimiser is a few launches for all parameters together."""

from itertools import accumulate

from ..backend import array_namespace
from ..ops import momentum_step

ALIGNED = 64             # numbers: each array begins where 16 bytes, and a line of the cache, begin


class Flat:
    """Room for arrays of these shapes side by side in one, ``whole``, which begins as zeros.

    What is done to each number of ``whole`` is done to all the ``parts`` in one launch instead of one for each.
    """

    def __init__(self, xp, arrays):
        sizes = [-(-array.size // ALIGNED) * ALIGNED for array in arrays]
        starts = accumulate(sizes, initial=0)
        self.whole = xp.zeros(sum(sizes), dtype=arrays[0].dtype)
        self.parts = [self.whole[start:start + array.size].reshape(array.shape) for start, array in zip(starts, arrays)]

    def fill(self, arrays):
        for part, array in zip(self.parts, arrays, strict=True):
            part[...] = array


class Group:
    """Parameters that share a weight decay, their gradients and velocities, each side by side in one array."""

    def __init__(self, xp, optimizer, names, decay):
        self.boxes = [optimizer.parameters[name] for name in names]
        self.static = {"momentum": optimizer.momentum, "nesterov": optimizer.nesterov, "decay": decay}
        values, keys = [box.value for box in self.boxes], [f"velocity/{name}" for name in names]
        self.w, self.g, self.v = (Flat(xp, values) for _ in range(3))
        self.w.fill(values)
        self.v.fill(optimizer.state.get(key, 0) for key in keys)        # v ← μ·0 + g is the first step's v ← g
        for box, part in zip(self.boxes, self.w.parts):
            box.value = part
        optimizer.state.update(zip(keys, self.v.parts))

    def gathered(self, factor):
        """g ← factor · gradients; Σ g²."""
        self.g.fill(box.grad for box in self.boxes)
        self.g.whole *= factor
        return (self.g.whole * self.g.whole).sum()

    def move(self, rate, when):
        """A step of momentum of all of them, where ``when`` is true."""
        w, v = momentum_step(self.w.whole, self.g.whole, self.v.whole, rate, **self.static)
        moved(self.w.whole, w, when)
        moved(self.v.whole, v, when)


def moved(place, array, when):
    """``place``, with ``array``'s numbers in it where ``when`` is true."""
    place[...] = array_namespace(place).where(when, array, place)
    return place
