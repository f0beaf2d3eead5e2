"""An image on its way through a network, each call of a layer a step, and the gradients on their way back."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import ops
from ..backend import Array
from ..nn import BatchNorm2d, Chain, Conv2d, Module, ReLU, Residual, Subsample
from ..nn.visit import Visitor

KINDS = {Conv2d: "conv", BatchNorm2d: "norm", ReLU: "relu", Subsample: "subsample"}
BLOCK = re.compile(r"layer\d+\.\d+(?![^.])")


@dataclass(eq=False)
class Step:
    """One call of one layer, y = f(x), and what came back to it: dy, and dx = f′ᵀ dy for each of its inputs.

    Of a residual sum, a step of kind "sum" with two inputs, ``fork`` is the step whose output both paths read.
    """

    name: str
    kind: str
    path: str  # "branch" or "shortcut" of a residual block; "" outside
    inputs: tuple[int, ...]  # the steps whose outputs it reads
    y: Array
    pullback: Callable[[Array], tuple[Array, ...]]
    module: Module | None = None
    fork: int | None = None
    gradient: Array | None = None
    dx: tuple[Array, ...] = ()

    @property
    def dy(self) -> Array:
        """∂score/∂y, known after :meth:`Trace.back`."""
        if self.gradient is None:
            raise RuntimeError("nothing was sent back through this trace: call back(dy) first")
        return self.gradient


class Trace(Visitor):
    """Carries x through a model, as the index of a step among ``steps``; step 0 is x itself.

    Shapes: x (N, C, H, W).  The model's parameters get no gradients: give a copy with nothing trainable.
    """

    def __init__(self, model: Chain, x: Array):
        super().__init__(model)
        self.path = ""
        self.steps = [Step("x", "image", "", (), x, lambda dy: ())]
        self.visit(model.scoring(), 0)

    def note(self, *step: Any, **more: Any) -> int:
        """Append a step; returns its index."""
        self.steps.append(Step(*step, **more))
        return len(self.steps) - 1

    def leaf(self, module: Module, x: int, name: str) -> int:
        y, pullback = module.vjp(self.steps[x].y)
        return self.note(name, kind_of(module), self.path, (x,), y, lambda dy: (pullback(dy),), module)

    def residual(self, module: Residual, x: int, name: str) -> int:
        self.path = "branch"
        f = self.visit(module.branch, x, name)
        self.path = "shortcut"
        s = self.visit(module.shortcut, x, name)
        self.path = ""
        y, pullback = ops.add(self.steps[f].y, self.steps[s].y)
        return self.note(name, "sum", "", (f, s), y, pullback, fork=x)

    def back(self, dy: Array) -> None:
        """Send a cotangent of the scores back: afterwards every step has its dy and dx.

        dy = Σ dx of the steps that read y                             the chain rule and the sum rule in one
        """
        self.steps[-1].gradient = dy
        for step in reversed(self.steps):
            step.dx = step.pullback(step.dy)
            for source, dx in zip((self.steps[i] for i in step.inputs), step.dx):
                source.gradient = dx if source.gradient is None else ops.add(source.gradient, dx)[0]

    @cached_property
    def readers(self) -> list[list[int]]:
        """For each step those that read its output."""
        found: list[list[int]] = [[] for _ in self.steps]
        for k, step in enumerate(self.steps):
            for source in dict.fromkeys(step.inputs):
                found[source].append(k)
        return found

    def paths_back(self, index: int) -> tuple[Array, Array]:
        """(F′ᵀ dy, S′ᵀ dy): what the two paths of the sum at ``index`` bring back to where they part."""
        step = self.steps[index]
        readers = self.readers[step.fork] if step.fork is not None else []
        first = {self.steps[k].path: self.steps[k].dx[0] for k in readers if k < index}
        return first.get("branch", step.dx[0]), first.get("shortcut", step.dx[1])  # a path of no layer is the identity


def kind_of(module: Module) -> str:
    """ "conv", "norm" by running statistics, "relu", "subsample", or the name of another layer's class."""
    if isinstance(module, BatchNorm2d) and module.uses_batch_statistics:
        return type(module).__name__
    return KINDS.get(type(module), type(module).__name__)


def trace(model: Chain, x: Array) -> Trace:
    """A trace through a copy of the model of which nothing is trainable; x (N, C, H, W)."""
    copy = model.copy()
    for parameter in copy.parameters():
        parameter.trainable = False
    return Trace(copy, x)


def norm(a: Array) -> float:
    """‖a‖, in float64."""
    return float(np.linalg.norm(a.astype(np.float64).ravel()))


def blocks(trace: Trace) -> list[str]:
    """For each step the part of the network that it lies in: image, stem, layer1.0, layer1.1, …, scores."""
    found, place = ["image"], "stem"
    for step in trace.steps[1:]:
        block = BLOCK.match(step.name)
        place = block[0] if block else "stem" if place == "stem" else "scores"
        found.append(place)
    return found
