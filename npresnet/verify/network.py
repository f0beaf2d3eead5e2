"""Every gradient of a network, one layer at a time.

A whole network cannot be moved by a step that its kinks would not see: along any direction some ReLU bends.  So it is
taken apart.  Every layer is checked alone, at the values that the network gives it.  Every residual sum, and the whole
net, is checked against its theorem: its pullback must say what the pullbacks of its parts say,

    Chain      dx = f₁′ᵀ ( ⋯ fₖ′ᵀ dy)         Residual   dx = F′ᵀ dy + S′ᵀ dy

to the last digits, since no derivative is measured there.  At the end the whole net is moved after all, by one very
small step and with a bound that leaves room for the few kinks that it crosses.
"""

from fnmatch import fnmatch
from functools import reduce

import numpy as np

from .. import ops
from ..nn import Chain, Residual
from .adjoint import Adjoint, Row, size, unit

WHOLE_NET = {"steps": (1e-8,), "settled": 1e-2}
WHOLE_NET_TOLERANCE = 1e-3


class NetCheck:
    """Goes through a network once, forward, and checks each part where it meets it."""

    def __init__(self, model, rng, tolerance, layers):
        self.model, self.rng, self.tolerance, self.layers = model.astype(np.float64), rng, tolerance, layers
        self.names = {id(part): name for name, part in self.model.named_modules()}

    def run(self, x, labels=None) -> list[Row]:
        self.rows = []
        if not x.size:
            return []
        y = self.through(self.model, x, "")
        if isinstance(self.model, Chain | Residual) and fnmatch("", self.layers):
            self.whole_net(x)
        if labels is not None and fnmatch("loss", self.layers):
            z = y / max(size(y), 1)           # of larger ones, small probabilities drown in the rounding of their sum
            loss = Adjoint(ops.softmax_cross_entropy, [z, labels], self.rng, self.tolerance, "loss",
                           "softmax_cross_entropy")
            self.rows += loss.rows(["logits", "labels"])
        return self.rows

    def through(self, module, x, parent):
        """module(x), after everything inside that the pattern names has been checked."""
        name = self.names.get(id(module), parent)            # a block's sum has no name of its own: the block's
        wanted = fnmatch(name, self.layers)
        if isinstance(module, Chain):
            return reduce(lambda y, part: self.through(part, y, name), module.layers(), x)
        if isinstance(module, Residual):
            if wanted:
                self.rows.append(self.theorem(name, module, x, own_vjp))
            return self.through(module.branch, x, name) + self.through(module.shortcut, x, name)
        if wanted:
            fn, values, names = as_function(module)
            layer = Adjoint(fn, [x, *values], self.rng, self.tolerance, name, type(module).__name__)
            self.rows += layer.rows(["x", *names])
        return module(x)

    def whole_net(self, x):
        """The theorems, from the layers up; where they do not hold, each chain by itself; and one step of the net."""
        self.rows.append(self.theorem("", self.model, x, unfolded))
        if self.rows[-1].verdict == "WRONG":
            self.blame(self.model, x, "")
        fn, values, _ = as_function(self.model)
        net = Adjoint(fn, [x, *values], self.rng, WHOLE_NET_TOLERANCE, "", "whole net")
        self.rows.append(net.direction("everything", range(1 + len(values)), **WHOLE_NET)[0])

    def blame(self, module, x, parent):
        """Add a row for each chain whose pullback does not compose those of its parts."""
        name = self.names.get(id(module), parent)
        if isinstance(module, Chain):
            row = self.theorem(name, module, x, own_vjp)
            self.rows += [row] if row.verdict == "WRONG" else []
            return reduce(lambda y, part: self.blame(part, y, name), module.layers(), x)
        if isinstance(module, Residual):
            return self.blame(module.branch, x, name) + self.blame(module.shortcut, x, name)
        return module(x)

    def theorem(self, name, module, x, part_vjp) -> Row:
        """Does the pullback say what the parts' pullbacks say?  The row of the array that differs most."""
        y, pullback = module.vjp(x)
        u = unit(self.rng.standard_normal(y.shape))
        said = answers(module, y, pullback, u)
        due = answers(module, *by_theorem(module, x, part_vjp), u)
        gaps = {key: float(np.linalg.norm(said[key] - due[key])) for key in due}
        errors = {key: gap and gap / float(np.linalg.norm(due[key]) or 1) for key, gap in gaps.items()}
        worst = max(errors, key=lambda key: np.nan_to_num(errors[key], nan=np.inf))
        norms = (float(np.linalg.norm(array[worst])) for array in (said, due))
        verdict = "ok" if errors[worst] <= self.tolerance else "WRONG"
        return Row(name, type(module).__name__, worst, None, *norms, errors[worst], self.tolerance, 0, verdict)


def by_theorem(module, x, part_vjp):
    """(y, pullback) of a chain or a sum by its rule, from what ``part_vjp`` says of the parts."""
    if isinstance(module, Residual):
        (f, f_pullback), (s, s_pullback) = part_vjp(module.branch, x), part_vjp(module.shortcut, x)
        return f + s, lambda dy: f_pullback(dy) + s_pullback(dy)
    pullbacks = []
    for part in module.layers():
        x, pullback = part_vjp(part, x)
        pullbacks.append(pullback)
    return x, lambda dy: reduce(lambda dy, pullback: pullback(dy), reversed(pullbacks), dy)


def own_vjp(module, x):
    return module.vjp(x)


def unfolded(module, x):
    """(y, pullback) from the layers up, by nothing but the two theorems."""
    return by_theorem(module, x, unfolded) if isinstance(module, Chain | Residual) else module.vjp(x)


def answers(module, y, pullback, u) -> dict:
    """dx, the value and the gradient of each parameter, by name."""
    module.zero_grad()
    found = {"x": pullback(u), "value": y}
    found.update((name, box.grad) for name, box in module.named_parameters() if box.trainable)
    module.zero_grad()
    return found


def as_function(module):
    """A module as a function of its input and parameters, (x, *values) ↦ (y, pullback); the values; their names."""
    named = [(name, box) for name, box in module.named_parameters() if box.trainable]
    names, boxes = [name for name, _ in named], [box for _, box in named]
    held = [box.value for box in boxes]

    def fn(x, *values):
        for box, value in zip(boxes, values):
            box.value, box.grad = value, None
        y, pullback = module.vjp(x)
        for box, value in zip(boxes, held):
            box.value = value
        return y, lambda dy: (pullback(dy), *(box.grad for box in boxes))

    return fn, held, names
