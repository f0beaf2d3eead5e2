"""Between the pullback and the optimiser's step: the gradients' norm, clipping, and the search for NaN and infinity."""

from collections.abc import Iterable

from ..backend import Array, array_namespace
from ..nn import Module, Parameter, synchronize_batch_norm
from ..nn.visit import Visitor


class TrainingError(ValueError):
    """NaN or infinity in training; the message says in which layer, and what to try.

    It is ``elsewhere`` where the numbers of this rank are finite: batch norms have brought another's.
    """

    elsewhere = False


ALL_FINITE = "the logits are finite, their loss overflows"
CURE = (
    "start again with a lower learning rate, a warm-up or clipped gradients: a run that is resumed keeps its own "
    "(npresnet train: another --out, with --lr, --warmup or --clip)"
)


def gradient_norm(parameters: Iterable[Parameter]) -> float:
    """‖g‖ = √(Σ g²) over all parameters that have a gradient."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(sum(array_namespace(g).vdot(g, g) for g in gradients)) ** 0.5


def clip_gradients(parameters: Iterable[Parameter], norm: float, largest: float) -> None:
    """g ← g · min(1, largest / ‖g‖), where ‖g‖ is ``norm``; PyTorch's 1e-6 is added to it."""
    factor = largest / (norm + 1e-6)
    if factor < 1:
        scale_gradients(parameters, factor)


def scale_gradients(parameters: Iterable[Parameter], factor: float) -> None:
    """g ← factor · g"""
    for parameter in parameters:
        parameter.grad = None if parameter.grad is None else parameter.grad * factor


def check_loss(loss: float, model: Module, x: Array) -> None:
    """Raise TrainingError where the loss is not finite; it names the first layer whose output is not."""
    if loss - loss != 0:  # only for ±∞ and NaN
        where = first_layer(model, x)
        error = TrainingError(f"the loss is {loss}: {where}; {CURE}")
        shared = any(getattr(module, "ranks", None) for module in model.modules())
        error.elsewhere = shared and where == ALL_FINITE
        raise error


def check_gradients(norm: float, model: Module) -> None:
    """Raise TrainingError where the gradients' norm is not finite; it names the parameter nearest to the loss."""
    if norm - norm != 0:
        bad = [
            name
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and not finite(parameter.grad)
        ]
        where = f"of {bad[-1]} (and {len(bad) - 1} more before it)" if bad else "as a whole overflows"
        raise TrainingError(f"the gradient {where} is not finite; {CURE}")


def first_layer(model: Module, x: Array) -> str:
    """Where in the forward pass NaN or infinity appears first, in words."""
    if not finite(x):
        return "the images hold values that are not finite"
    copy = synchronize_batch_norm(model.copy(), None)  # its running statistics may move, ours not; other ranks go on
    for name, parameter in copy.named_parameters():
        if not finite(parameter.value):
            return f"{name} holds values that are not finite"
    layers = NonFinite(copy)
    layers.visit(copy, x)
    first = next(iter(layers.found), None)
    return f"the output of {first} is not finite" if first else ALL_FINITE


class NonFinite(Visitor):
    """Notes the names of the layers whose output holds NaN or infinity, in the order they run."""

    def __init__(self, model: Module) -> None:
        super().__init__(model)
        self.found: list[str] = []

    def leaf(self, module: Module, x: Array, name: str) -> Array:
        y = module(x)
        if not finite(y):
            self.found.append(name or type(module).__name__)
        return y


def finite(array: Array) -> bool:
    """Whether the array holds neither NaN nor infinity."""
    return bool(array_namespace(array).isfinite(array).all())
