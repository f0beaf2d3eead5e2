"""Mixed precision: 16 bits between layers, 32 bits for sums and for small updates.

    master weights, velocity, norms and their statistics, the loss      float32
    copies of the weights, images between layers, their gradients      float16 or bfloat16

float16 ends at 6e-8, where many gradients of activations still lie, so the loss is scaled up before the pullback and
the weights' gradients down after it; both are linear in it, and nothing else changes.

[MP] Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Array, Pullback, array_namespace, tf32
from ..distributed import Communicator
from ..models.classifier import Classifier
from ..nn import BatchNorm2d, Buffer, GroupNorm, Module, Parameter
from ..ops import cast
from .quantized import QuantizedPrecision
from .recorded import RecordedModel

PRECISIONS = ("float32", "tf32", "float16", "bfloat16", "int8")


def half_dtype(name: str, on_gpu: bool) -> np.dtype:
    """NumPy's float16, or ml_dtypes' bfloat16, with which NumPy's own functions do not keep to 16 bits."""
    if name == "float16":
        return np.dtype(np.float16)
    if not on_gpu:
        raise ValueError("bfloat16 needs a GPU; use float16 on a CPU")
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError("bfloat16 needs its dtype: pip install ml_dtypes; or use float16") from None
    return np.dtype(ml_dtypes.bfloat16)


class FullPrecision:
    """One precision throughout, with the methods of :class:`MixedPrecision`."""

    scale = 1.0

    def __init__(self, model: Module, allow_tf32: bool = False, ranks: Communicator | None = None) -> None:
        self.model, self.allow_tf32, self.recorded = model, allow_tf32, RecordedModel(model, ranks)

    def logits_vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Scores and their pullback, which fills the parameters' gradients."""
        with tf32(self.allow_tf32):
            return self.recorded.logits_vjp(x)

    def evaluated(self, model: Any) -> Any:
        """What is to be validated: the model itself."""
        return model

    def save(self, model: Any, path: Path) -> None:
        """Write nothing beside the model at ``path``."""

    def update_scale(self, finite: Any) -> Any:
        """Whether the step is to be made: always; an infinite gradient is an error that the caller reports."""
        return True

    def variables(self) -> list[Array]:
        """What changes from step to step, besides the weights."""
        return []

    def state(self) -> list[float]:
        """:meth:`variables` as numbers for a checkpoint."""
        return []

    def restore(self, variables: Sequence[Any]) -> None:
        """Restore what :meth:`variables` or :meth:`state` returned."""

    def move_to(self, xp: Any) -> None:
        """Keep :meth:`variables` as arrays of ``xp``."""


class MixedPrecision:
    """A model in float32 whose images go through a copy in ``dtype``.                             [MP] §3.1

    The copy's norms are the model's own, and keep their parameters and statistics in float32.
    """

    scale: Any  # of the loss: a float, or an array on a GPU
    good_steps: Any  # steps without an overflow since the scale last changed

    def __init__(
        self, model: Module, dtype: Any, scale: float = 2.0**15, patience: int = 2000, largest: float = 2.0**24
    ) -> None:
        self.model, self.dtype = model, np.dtype(dtype)
        self.scale, self.patience, self.largest, self.good_steps = scale, patience, largest, 0
        self.copy = model.copy()
        self.pairs: list[tuple[Any, Any]] = []  # the model's parameters and buffers beside the copy's
        for own, low in zip(model.modules(), self.copy.modules(), strict=True):
            held = {name: value for name, value in vars(own).items() if isinstance(value, Parameter | Buffer)}
            if isinstance(own, BatchNorm2d | GroupNorm):
                vars(low).update(held)
            else:
                self.pairs += [(value, vars(low)[name]) for name, value in held.items()]

    def logits_vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Scores in float32 and their pullback, which adds to the gradients of the float32 model."""
        pullbacks = []
        for own, low in self.pairs:
            low.value, pullback = cast(own.value, self.dtype)
            low.grad = None
            pullbacks.append(pullback)
        self.copy.train(self.model.training)
        x, _ = cast(x, self.dtype)
        scores, scores_pullback = self.copy.logits_vjp(x, input_grad=False)
        scores, narrow = cast(scores, np.dtype(np.float32))

        def mixed_pullback(dscores):
            scores_pullback(narrow(dscores))
            for (own, low), widen in zip(self.pairs, pullbacks):
                if low.grad is not None:
                    own.accumulate(widen(low.grad))
                    low.grad = None

        return scores, mixed_pullback

    def evaluated(self, model: Any) -> Any:
        """What is to be validated: the model itself."""
        return model

    def save(self, model: Any, path: Path) -> None:
        """Write nothing beside the model at ``path``."""

    def update_scale(self, finite: Any) -> Any:
        """Set the scale of the next step; whether this one is to be made.                         [MP] §3.2

        An overflow skips a step and halves the scale; ``patience`` steps without one double it.  There is no branch, so
        that ``finite``, whether all gradients are, may be an array on a GPU.
        """
        xp = array_namespace(finite)
        self.good_steps = xp.where(finite, self.good_steps + 1, 0)
        grown = self.good_steps >= self.patience
        doubled = xp.where(grown, xp.minimum(2 * self.scale, self.largest), self.scale)
        self.scale, self.good_steps = xp.where(finite, doubled, self.scale / 2), xp.where(grown, 0, self.good_steps)
        return finite | (self.scale < 1)  # below 1 another scale would not help: the caller reports it

    def variables(self) -> list[Array]:
        """What changes from step to step, besides the weights."""
        return [self.scale, self.good_steps]

    def state(self) -> list[float]:
        """:meth:`variables` as numbers for a checkpoint."""
        return [float(self.scale), int(self.good_steps)]

    def restore(self, variables: Sequence[Any]) -> None:
        """Restore what :meth:`variables` or :meth:`state` returned."""
        self.scale, self.good_steps = variables

    def move_to(self, xp: Any) -> None:
        """Keep :meth:`variables` as arrays of ``xp``."""
        self.scale, self.good_steps = xp.asarray(float(self.scale), "float32"), xp.asarray(int(self.good_steps))


Precision = FullPrecision | MixedPrecision | QuantizedPrecision


def make_precision(
    name: str, model: Classifier, ranks: Communicator | None = None, *, weight_bits: int = 8
) -> Precision:
    """How ``model`` is trained in the precision ``name``, one of :data:`PRECISIONS`, by ``ranks`` together."""
    if name == "int8":
        return QuantizedPrecision(model, weight_bits, ranks)
    if name in ("float32", "tf32"):
        return FullPrecision(model, name == "tf32", ranks)
    return MixedPrecision(model, half_dtype(name, model.namespace is not np))
