"""A network's layers as a list of steps, each of which ends where its result gets 256 levels of its own.

What is rounded, and what is not, follows from how the layers are joined: a convolution, the batch norm behind it and
the ReLU behind that are one step, whose sums stay in 32 bits until all three are done.

[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877, §3.2
"""

from dataclasses import replace

from .. import nn
from ..nn.visit import Visitor, is_replaced
from .float_step import INPUT, KEEP, SUMS, FloatStep


def lower(model: nn.Module) -> list[FloatStep]:
    """The steps up to the model's scores, or its features where it has no classifier.

    Raises ValueError for a layer that has no equivalent on integers: gates, group norms, blur, other activations.
    """
    lowering = Lowering(model)
    features = getattr(getattr(model, "spec", None), "num_classes", None) == 0  # there are no scores to look for
    lowering.visit(model.scoring() if isinstance(model, nn.Chain) and not features else model, INPUT)
    steps = lowering.steps
    for step in steps:
        wrong = [layer for layer in step.layers if type(layer) not in SUMS + KEEP or is_replaced(layer)]
        if wrong:
            how = " whose vjp or op was replaced" * is_replaced(wrong[0])
            raise ValueError(f"{step.name} is a {type(wrong[0]).__name__}{how}, which has no equivalent on integers")
    if not steps:
        raise ValueError("this model has no layer to quantize")
    return joined(steps)


class Lowering(Visitor):
    """Visits a model with the name of a step in the place of x; each layer and each sum appends a step."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.steps: list[FloatStep] = []

    def append(self, name: str, inputs: tuple[str, ...], *layers: nn.Module) -> str:
        """The name of the new step: a layer that runs twice has two."""
        runs = sum(step.name.partition("#")[0] == name for step in self.steps)
        self.steps.append(FloatStep(f"{name}#{runs + 1}" if runs else name, inputs, layers))
        return self.steps[-1].name

    def visit(self, module: nn.Module, x: str, around: str = "") -> str:
        if is_replaced(module):  # also a chain or a sum
            return self.leaf(module, x, self.names.get(id(module), around))
        return super().visit(module, x, around)

    def residual(self, module: nn.Residual, x: str, name: str) -> str:
        branch, shortcut = self.visit(module.branch, x, name), self.visit(module.shortcut, x, name)
        return self.append(f"{name}.add", (branch, shortcut))

    def leaf(self, module: nn.Module, x: str, name: str) -> str:
        return self.append(name or type(module).__name__, (x,), module)


def joined(steps: list[FloatStep]) -> list[FloatStep]:
    """The same with each batch norm and ReLU part of the step that it follows, where nothing else reads that."""
    readers = [name for step in steps for name in step.inputs]
    found: dict[str, FloatStep] = {}
    names: dict[str, str] = {INPUT: INPUT}
    for step in steps:
        inputs = tuple(names[name] for name in step.inputs)
        before = found.get(inputs[0])
        if before and readers.count(step.inputs[0]) == 1 and follows(before, step):
            found[before.name] = replace(before, layers=before.layers + step.layers)
            names[step.name] = before.name
        else:
            found[step.name] = replace(step, inputs=inputs)
            names[step.name] = step.name
    return list(found.values())


def follows(before: FloatStep, step: FloatStep) -> bool:
    """Whether a step is one that 32-bit sums wait for: a batch norm right behind a convolution, a ReLU behind sums."""
    if not before.has_scale or before.relu or len(step.layers) != 1:
        return False
    norm = isinstance(step.layers[0], nn.BatchNorm2d)
    return step.relu or (norm and len(before.layers) == 1 and isinstance(before.layers[0], nn.Conv2d))
