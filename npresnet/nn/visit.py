"""The walk over a model's layers in the order they run, which every analysis of a model shares."""

from typing import Any, TypeGuard

from .compose import Residual, inside
from .module import Module


class Visitor:
    """Carries a value through a model in the order in which ``model(x)`` carries an array.

    The value may be anything: an array, a shape, a node of a graph, a tensor of another library.  A subclass says what
    a layer makes of it (``leaf``) and how the two paths of a sum meet (``add``), or handles a ``chain`` or a
    ``residual`` itself.  An Identity is a chain of no layers.  A leaf is every other module, also one that runs its
    parts in a way of its own, such as a squeeze-and-excitation gate.

    ``name`` is the module's in the model, or that of the nearest module around it that has one: a block builds its sum
    anew at each call.
    """

    def __init__(self, model: Module):
        self.model = model  # kept, so that the ids below stay its parts'
        self.names = {id(part): name for name, part in model.named_modules()}

    def visit(self, module: Module, x: Any, around: str = "") -> Any:
        """What ``module`` makes of x."""
        name = self.names.get(id(module), around)
        if inside(module) is not None:
            return self.chain(module, x, name)
        if is_sum(module):
            return self.residual(module, x, name)
        return self.leaf(module, x, name)

    def chain(self, module: Module, x: Any, name: str) -> Any:
        for layer in inside(module) or ():
            x = self.visit(layer, x, name)
        return x

    def residual(self, module: Residual, x: Any, name: str) -> Any:
        return self.add(self.visit(module.branch, x, name), self.visit(module.shortcut, x, name))

    def add(self, f: Any, s: Any) -> Any:
        return f + s

    def leaf(self, module: Module, x: Any, name: str) -> Any:
        return module(x)


def is_replaced(module: Module) -> bool:
    """Whether its ``vjp`` or ``op`` was set on this very instance: it may compute anything."""
    return bool(vars(module).keys() & {"vjp", "op"})


def is_sum(module: Module) -> TypeGuard[Residual]:
    """Whether it adds what its two paths make of x, and does nothing else."""
    return isinstance(module, Residual) and type(module).__call__ is Residual.__call__
