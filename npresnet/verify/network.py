"""Every gradient of a network, one layer at a time.

No step of a whole network is small enough to cross no kink of any ReLU, so that its parts are checked.  Every layer is
checked alone, at the values that the network gives it.  Every residual sum, and the whole net, is checked against its
theorem: its pullback must be what the theorem makes of its parts' pullbacks,

    Chain      dx = f₁′ᵀ ( ⋯ fₖ′ᵀ dy)         Residual   dx = F′ᵀ dy + S′ᵀ dy

to the last digits, since no derivative is measured there.  At the end the whole net is moved after all, by one very
small step and with a bound that leaves room for the few kinks that it crosses.
"""

from collections.abc import Callable
from fnmatch import fnmatch
from functools import reduce
from typing import Any

import numpy as np

from .. import ops
from ..backend import Array, Pullback
from ..nn import Identity, Module, Residual
from ..nn.compose import inside
from ..nn.visit import Visitor, is_sum
from .adjoint import Adjoint, Row, size, unit

WHOLE_NET: dict[str, Any] = {"steps": (1e-8,), "settled": 1e-2}
WHOLE_NET_TOLERANCE = 1e-3


class NetCheck(Visitor):
    """Goes through a network once, forward, and checks each layer and sum whose name fits the pattern ``layers``."""

    def __init__(
        self,
        model: Module,
        rng: np.random.Generator,
        tolerance: float,
        layers: str,
        show: Callable[[int], None] | None = None,
    ):
        super().__init__(model.astype(np.float64))
        self.show, self.checked = show, 0
        self.rng, self.tolerance, self.layers = rng, tolerance, layers
        self.rows: list[Row] = []

    def run(self, x: Array, labels: Array | None = None) -> list[Row]:
        if not x.size:
            return []
        y = self.visit(self.model, x)
        if fnmatch("", self.layers) and composed(self.model):
            self.whole_net(x)
        if labels is not None and fnmatch("loss", self.layers):
            z = y / max(size(y), 1)  # of larger ones, small probabilities drown in the rounding of their sum
            loss = Adjoint(
                ops.softmax_cross_entropy, [z, labels], self.rng, self.tolerance, "loss", "softmax_cross_entropy"
            )
            self.rows += loss.rows(["logits", "labels"])
        return self.rows

    def chain(self, module: Module, x: Array, name: str) -> Array:
        return self.leaf(module, x, name) if isinstance(module, Identity) else super().chain(module, x, name)

    def residual(self, module: Residual, x: Array, name: str) -> Array:
        if fnmatch(name, self.layers):
            self.rows.append(self.theorem(name, module, x, own_vjp))
        return super().residual(module, x, name)

    def leaf(self, module: Module, x: Array, name: str) -> Array:
        if fnmatch(name, self.layers):
            fn, values, names = as_function(module)
            layer = Adjoint(fn, [x, *values], self.rng, self.tolerance, name, type(module).__name__)
            self.rows += layer.rows(["x", *names])
            self.checked += 1
            if self.show:
                self.show(self.checked)
        return module(x)

    def whole_net(self, x: Array) -> None:
        """The theorems, from the layers up; where they do not hold, each chain by itself; and one step of the net."""
        self.rows.append(self.theorem("", self.model, x, unfolded))
        if self.rows[-1].verdict == "WRONG":
            WrongChains(self).visit(self.model, x)
        fn, values, _ = as_function(self.model)
        net = Adjoint(fn, [x, *values], self.rng, WHOLE_NET_TOLERANCE, "", "whole net")
        self.rows.append(net.direction("everything", range(1 + len(values)), **WHOLE_NET)[0])

    def theorem(self, name: str, module: Module, x: Array, part_vjp: Callable[..., tuple[Array, Pullback]]) -> Row:
        """Compare the pullback with its parts' pullbacks by the theorem: the row of the array that differs most."""
        y, pullback = module.vjp(x)
        u = unit(self.rng.standard_normal(y.shape))
        found = gradients(module, y, pullback, u)
        expected = gradients(module, *by_theorem(module, x, part_vjp), u)
        gaps = {key: float(np.linalg.norm(found[key] - expected[key])) for key in expected}
        errors = {key: gap and gap / float(np.linalg.norm(expected[key]) or 1) for key, gap in gaps.items()}
        worst = max(errors, key=lambda key: np.nan_to_num(errors[key], nan=np.inf))
        analytic, numeric = float(np.linalg.norm(found[worst])), float(np.linalg.norm(expected[worst]))
        verdict = "ok" if errors[worst] <= self.tolerance else "WRONG"
        return Row(
            name, type(module).__name__, worst, None, analytic, numeric, errors[worst], self.tolerance, 0, verdict
        )


class WrongChains(Visitor):
    """Adds to a check a row for each chain whose pullback does not compose those of its parts."""

    def __init__(self, check: NetCheck):
        super().__init__(check.model)
        self.check = check

    def chain(self, module: Module, x: Array, name: str) -> Array:
        row = self.check.theorem(name, module, x, own_vjp)
        self.check.rows += [row] if row.verdict == "WRONG" else []
        return super().chain(module, x, name)


def composed(module: Module) -> bool:
    """Whether it is a chain or a sum: its pullback follows from those of its parts."""
    return inside(module) is not None or is_sum(module)


def by_theorem(module: Module, x: Array, part_vjp: Callable[..., tuple[Array, Pullback]]) -> tuple[Array, Pullback]:
    """(y, pullback) of a chain or a sum by its rule, from ``part_vjp`` of the parts."""
    if is_sum(module):
        (f, f_pullback), (s, s_pullback) = part_vjp(module.branch, x), part_vjp(module.shortcut, x)
        return f + s, lambda dy: f_pullback(dy) + s_pullback(dy)
    pullbacks: list[Pullback] = []
    for part in inside(module) or ():
        x, pullback = part_vjp(part, x)
        pullbacks.append(pullback)
    return x, lambda dy: reduce(lambda dy, pullback: pullback(dy), reversed(pullbacks), dy)


def own_vjp(module: Module, x: Array) -> tuple[Array, Pullback]:
    return module.vjp(x)


def unfolded(module: Module, x: Array) -> tuple[Array, Pullback]:
    """(y, pullback) from the layers up, by nothing but the two theorems."""
    return by_theorem(module, x, unfolded) if composed(module) else module.vjp(x)


def gradients(module: Module, y: Array, pullback: Pullback, u: Array) -> dict[str, Any]:
    """dx, the value and the gradient of each parameter, by name."""
    module.zero_grad()
    found = {"x": pullback(u), "value": y}
    found.update((name, parameter.grad) for name, parameter in module.named_parameters() if parameter.trainable)
    module.zero_grad()
    return found


def as_function(module: Module) -> tuple[Callable[..., tuple[Array, Pullback]], list[Array], list[str]]:
    """A module as a function of its input and parameters, (x, *values) ↦ (y, pullback); the values; their names."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.trainable]
    names, parameters = [name for name, _ in named], [parameter for _, parameter in named]
    held = [parameter.value for parameter in parameters]

    def fn(x, *values):
        for parameter, value in zip(parameters, values):
            parameter.value, parameter.grad = value, None
        y, pullback = module.vjp(x)
        for parameter, value in zip(parameters, held):
            parameter.value = value
        return y, lambda dy: (pullback(dy), *(parameter.grad for parameter in parameters))

    return fn, held, names
