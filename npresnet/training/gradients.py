"""What is looked at between the pullback and the optimiser's step: the gradients' size, and whether all is finite."""

from ..backend import array_namespace
from ..nn.visit import Visitor


class TrainingError(ValueError):
    """The training cannot go on; the message says where it broke and what to try."""


CURE = ("begin again with a lower learning rate, a warm-up or clipped gradients: a run that is resumed keeps its own "
        "(npresnet train: another --out, with --lr, --warmup or --clip)")


def gradient_norm(parameters) -> float:
    """‖g‖ = √(Σ g²) over all parameters that have a gradient."""
    squares = [array_namespace(box.grad).vdot(box.grad, box.grad) for box in parameters if box.grad is not None]
    return float(sum(squares)) ** 0.5


def clip_gradients(parameters, norm, largest):
    """g ← g · min(1, largest / ‖g‖), with PyTorch's 1e-6 beside the norm."""
    factor = largest / (norm + 1e-6)
    if factor < 1:
        scale_gradients(parameters, factor)


def scale_gradients(parameters, factor):
    """g ← factor · g"""
    for box in parameters:
        box.grad = None if box.grad is None else box.grad * factor


def check_loss(loss, model, x):
    """Raise TrainingError, naming the first layer whose output is not finite, where the loss is not."""
    if loss - loss != 0:                                                # only for ±∞ and NaN
        raise TrainingError(f"the loss is {loss}: {first_layer(model, x)}; {CURE}")


def check_gradients(norm, model):
    """Raise TrainingError, naming the layer nearest to the loss, where a gradient is not finite."""
    if norm - norm != 0:
        bad = [name for name, box in model.named_parameters() if box.grad is not None and not finite(box.grad)]
        where = f"of {bad[-1]} (and {len(bad) - 1} more before it)" if bad else "as a whole overflows"
        raise TrainingError(f"the gradient {where} is not finite; {CURE}")


def first_layer(model, x) -> str:
    """Where along the way NaN or infinity appears first."""
    if not finite(x):
        return "the images hold values that are not finite"
    twin = model.copy()                                 # whose running statistics may move
    for name, box in twin.named_parameters():
        if not finite(box.value):
            return f"{name} holds values that are not finite"
    layers = NonFinite(twin)
    layers.visit(twin, x)
    first = next(iter(layers.found), None)
    return f"the output of {first} is not finite" if first else "the logits are finite, their loss overflows"


class NonFinite(Visitor):
    """Notes the names of the layers whose output holds NaN or infinity, in the order they run."""

    def __init__(self, model):
        super().__init__(model)
        self.found = []

    def leaf(self, module, x, name):
        y = module(x)
        if not finite(y):
            self.found.append(name or type(module).__name__)
        return y


def finite(array) -> bool:
    return bool(array_namespace(array).isfinite(array).all())
