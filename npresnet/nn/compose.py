"""The two theorems that carry a ResNet: the chain rule and the sum rule."""

from .. import ops
from ..backend import Array, Pullback
from .module import Module, needs_module, once


class Identity(Module):
    """y = x;  dx = dy."""

    def __call__(self, x: Array) -> Array:
        return x

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        return x, lambda dy: dy if input_grad else None


class Chain(Module):
    """y = fₖ(… f₁(x)), the parts f₁ … fₖ being ``layers()``.

    Its derivative is the product fₖ′ ⋯ f₁′, so its pullback runs the parts' pullbacks in reverse:

        dx = f₁′ᵀ ( ⋯ fₖ′ᵀ dy)                                                the chain rule

    ``fused(layers)``, set by :mod:`.fusion`, gives the same function with neighbours joined that one op can compute.
    """

    fused = staticmethod(lambda layers: layers)

    def layers(self) -> tuple[Module, ...]:
        """The parts in the order they run: here, every child in the order it was assigned."""
        return tuple(self.children().values())

    def __call__(self, x: Array) -> Array:
        for layer in self.fused(self.layers()):
            x = layer(x)
        return x

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        pullbacks, wanted = [], input_grad
        for layer in self.fused(self.layers()):
            x, pullback = record(layer, x, wanted)
            wanted = wanted or layer.trainable  # later layers must return their dx
            pullbacks.append(pullback)

        def pullback(dy):
            while pullbacks:  # popping frees what a part saved once it is used
                dy = pullbacks.pop()(dy)
            return dy if input_grad else None

        return x, once(pullback)

    def logits(self, x: Array) -> Array:
        return self.scoring()(x)

    def logits_vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        return self.scoring().vjp(x, input_grad)

    def scoring(self) -> "Chain":
        """This chain without a softmax at its end."""
        parts: list[Module] = [self]
        while parts and (inner := inside(parts[-1])) is not None:
            parts[-1:] = inner  # the last layer of the last chain
        return Sequential(*parts[:-1]) if parts and parts[-1].after_scores else self


class Sequential(Chain):
    """A chain whose parts are named "0", "1", …"""

    def __init__(self, *layers: Module):
        for layer in layers:
            needs_module(layer, "a chain")
        vars(self).update({str(i): layer for i, layer in enumerate(layers)})

    def __getitem__(self, index):
        return self.layers()[index]


class Residual(Module):
    """y = F(x) + S(x):  [R1] Eq. 1 where the shortcut S is the identity, Eq. 2 where it is a projection.

    The sum hands dy to both paths; x is used by both, so its gradient is the sum of two:

        dx = F′ᵀ dy + S′ᵀ dy                                              the sum rule, cf. [R2] Eq. 5

    With S the identity, S′ᵀ dy is dy itself: the gradient reaches x whatever F does.
    [R1] He et al. 2015, arXiv:1512.03385        [R2] He et al. 2016, arXiv:1603.05027
    """

    def __init__(self, branch: Module, shortcut: Module):
        for path in (branch, shortcut):
            needs_module(path, "a residual block")
        self.branch, self.shortcut = branch, shortcut

    def __call__(self, x: Array) -> Array:
        return self.join(self.branch(x), self.shortcut(x))[0]

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        f, f_pullback = record(self.branch, x, input_grad)
        s, s_pullback = record(self.shortcut, x, input_grad)
        y, join_pullback = self.join(f, s)

        def pullback(dy):
            df, ds = join_pullback(dy)
            df, ds = f_pullback(df), s_pullback(ds)
            return ops.add(df, ds)[0] if input_grad else None

        return y, once(pullback)

    def join(self, f: Array, s: Array) -> tuple[Array, Pullback]:
        """The op that joins the two paths."""
        return ops.add(f, s)


def record(module: Module, x: Array, input_grad: bool) -> tuple[Array, Pullback]:
    """``module.vjp(x)``; or the bare value, saving nothing, where no gradient is wanted at or before it."""
    if input_grad or module.trainable:
        return module.vjp(x, input_grad)
    return module(x), lambda dy: None


def inside(module: Module) -> tuple[Module, ...] | None:
    """The layers of a chain that only runs them in order; () for an Identity; None for any other module."""
    if isinstance(module, Chain) and type(module).__call__ is Chain.__call__:
        return module.layers()
    return () if isinstance(module, Identity) else None
