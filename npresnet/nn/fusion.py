"""Which neighbouring layers run as one op, and when.

In training a batch norm, the ReLU behind it and the convolution behind that pass over the images once instead of three
times, where a kernel for the backend is registered; the values and gradients are those of the single layers.

Which neighbours belong together follows from their types alone, and is decided once for each sequence of types
(``RULES``).  Whether they run as one op or one by one is decided at each call: a batch norm may be frozen or put into
eval mode at any time, and the next array may live on another device.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from .. import ops
from ..backend import Array, Pullback
from .compose import Chain, Residual, Sequential, inside
from .layers import BatchNorm2d, Conv2d, ReLU
from .module import Module


class Fused(Chain):
    """Neighbours as a chain of their own: one op where ``supports(x)``, else one layer after the other."""

    fused = staticmethod(lambda layers: layers)  # they are joined already

    def supports(self, x: Array) -> bool:
        """Whether the one op computes what the layers compute, in fewer passes over x."""
        raise NotImplementedError

    def run_fused(self, x: Array, input_grad: bool) -> tuple[Array, Pullback]:
        """As ``vjp``."""
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        return self.run_fused(x, True)[0] if self.supports(x) else super().__call__(x)

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        return self.run_fused(x, input_grad) if self.supports(x) else super().vjp(x, input_grad)


class NormReLU(Fused):
    """A batch norm in training and the ReLU behind it."""

    def __init__(self, norm: BatchNorm2d, relu: ReLU):
        self.norm, self.relu = norm, relu

    def supports(self, x: Array) -> bool:
        return uses_batch(self.norm) and ops.batch_norm_relu.has_faster(x)

    def run_fused(self, x: Array, input_grad: bool) -> tuple[Array, Pullback]:
        return self.norm.by_batch(ops.batch_norm_relu, x, input_grad=input_grad)


class NormReLUConv(Fused):
    """A batch norm in training, the ReLU and the convolution behind it."""

    def __init__(self, norm: BatchNorm2d, relu: ReLU, conv: Conv2d):
        self.norm_relu, self.conv = NormReLU(norm, relu), conv

    def supports(self, x: Array) -> bool:
        return self.norm_relu.supports(x) and ops.batch_norm_relu_conv2d.has_faster(x)

    def run_fused(self, x: Array, input_grad: bool) -> tuple[Array, Pullback]:
        norm, conv = self.norm_relu.norm, self.conv
        return norm.by_batch(
            ops.batch_norm_relu_conv2d,
            x,
            input_grad=input_grad,
            **conv.window(),
            after={"w": conv.weight, "b": conv.bias},
        )


class ResidualReLU(Fused):
    """y = σ(F(x) + S(x)), F ending in a batch norm in training: its end, the sum and the ReLU."""

    def __init__(self, residual: Residual, relu: ReLU):
        self.residual, self.relu = residual, relu

    def supports(self, x: Array) -> bool:
        *_, last = (None, *(inside(self.residual.branch) or ()))
        return uses_batch(last) and ops.batch_norm_relu.has_faster(x)

    def run_fused(self, x: Array, input_grad: bool) -> tuple[Array, Pullback]:
        *before, norm = cast("tuple[Any, ...]", inside(self.residual.branch))
        return NormAddReLU(Sequential(*before), self.residual.shortcut, norm).vjp(x, input_grad)


class NormAddReLU(Residual):
    """y = σ(BN(F(x)) + S(x))"""

    def __init__(self, branch: Module, shortcut: Module, norm: BatchNorm2d):
        super().__init__(branch, shortcut)
        self.norm = norm

    def join(self, f: Array, s: Array) -> tuple[Array, Pullback]:
        return self.norm.by_batch(ops.batch_norm_add_relu, f, s)


def uses_batch(layer: Module | None) -> bool:
    """Whether it is a batch norm by the batch's statistics; the fused kernels need its gamma."""
    return type(layer) is BatchNorm2d and layer.uses_batch_statistics and layer.weight is not None


RULES: dict[tuple[type, ...], Callable[..., Fused]] = {  # the first rule that fits is used
    (BatchNorm2d, ReLU, Conv2d): NormReLUConv,
    (BatchNorm2d, ReLU): NormReLU,
    (Residual, ReLU): ResidualReLU,
}


@cache
def groups(kinds: tuple[type, ...]) -> tuple[tuple[Callable[..., Fused] | None, slice], ...]:
    """(class of the fused op, slice of layers that it replaces), in order; None for a layer that stays by itself."""
    found, start = [], 0
    while start < len(kinds):
        rule = next((rule for rule in RULES if kinds[start : start + len(rule)] == rule), kinds[start : start + 1])
        found.append((RULES.get(rule), slice(start, start + len(rule))))
        start += len(rule)
    return tuple(found)


def fused(layers: tuple[Module, ...]) -> tuple[Module, ...]:
    """The same function in fewer parts: neighbours that have one op are one part."""
    parts: list[Module] = []
    for join, which in groups(tuple(map(type, layers))):
        parts += layers[which] if join is None else [join(*layers[which])]
    return tuple(parts)


Chain.fused = staticmethod(fused)
