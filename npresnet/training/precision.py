"""Mixed precision: half the bits between layers, all of them where sums and small updates live.

    master weights, velocity, statistics of batch norms, the loss      float32
    copies of the weights, images between layers, their gradients      float16 or bfloat16

float16 ends at 6e-8, where many gradients of activations still lie, so the loss is scaled up before the pullback and
the weights' gradients down after it; both are linear in it, and nothing else changes.

[MP] Micikevicius et al. 2018, Mixed precision training, arXiv:1710.03740
"""

import numpy as np

from ..backend import array_namespace, tf32
from ..nn import BatchNorm2d, Buffer, Parameter
from ..ops import cast

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")


def half(name, on_gpu) -> np.dtype:
    """The dtype: float16, or bfloat16 from ml_dtypes, with which NumPy's own functions do not keep to 16 bits."""
    if name == "float16":
        return np.dtype(np.float16)
    if not on_gpu:
        raise ValueError("bfloat16 needs a GPU; use float16 on a CPU")
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError("bfloat16 needs its dtype: pip install ml_dtypes; or use float16") from None
    return np.dtype(ml_dtypes.bfloat16)


class Full:
    """One precision throughout.  What :class:`Mixed` offers, where there is nothing to mix."""

    scale = 1.0

    def __init__(self, model, allow_tf32=False):
        self.model, self.allow_tf32 = model, allow_tf32

    def logits_vjp(self, x):
        with tf32(self.allow_tf32):
            return self.model.logits_vjp(x, input_grad=False)

    def settle(self, finite) -> bool:
        """Whether the step is to be made; an infinite gradient is the caller's to report."""
        return True

    def numbers(self) -> list:
        """What changes from step to step, besides the weights."""
        return []

    def state(self) -> list:
        """The same for JSON."""
        return []

    def restore(self, numbers):
        pass

    def to(self, xp):
        """Keep those numbers where the arrays of ``xp`` live."""


class Mixed:
    """A model in float32 whose images go through a copy in ``dtype``.                             [MP] §3.1

    The copy's batch norms are the model's own, and keep their parameters and statistics in float32.
    """

    def __init__(self, model, dtype, scale=2.0**15, patience=2000, largest=2.0**24):
        self.model, self.dtype = model, np.dtype(dtype)
        self.scale, self.patience, self.largest, self.good = scale, patience, largest, 0
        self.copy, self.pairs = model.copy(), []
        for own, low in zip(model.modules(), self.copy.modules(), strict=True):
            boxes = {name: box for name, box in vars(own).items() if isinstance(box, Parameter | Buffer)}
            if isinstance(own, BatchNorm2d):
                vars(low).update(boxes)
            else:
                self.pairs += [(box, vars(low)[name]) for name, box in boxes.items()]

    def logits_vjp(self, x):
        """Scores in float32 and their pullback, which adds to the gradients of the float32 model."""
        backs = []
        for own, low in self.pairs:
            low.value, back = cast(own.value, self.dtype)
            low.grad = None
            backs.append(back)
        self.copy.train(self.model.training)
        x, _ = cast(x, self.dtype)
        scores, pullback = self.copy.logits_vjp(x, input_grad=False)
        scores, narrow = cast(scores, np.dtype(np.float32))

        def whole(dscores):
            pullback(narrow(dscores))
            for (own, low), back in zip(self.pairs, backs):
                if low.grad is not None:
                    own.accumulate(back(low.grad))
                    low.grad = None

        return scores, whole

    def settle(self, finite):
        """Whether the step is to be made, and the scale of the next one.                          [MP] §3.2

        An overflow costs a step and halves the scale; ``patience`` steps without one double it.  Without a branch, so
        that it may be a GPU that knows whether all was ``finite``.
        """
        xp = array_namespace(finite)
        self.good = xp.where(finite, self.good + 1, 0)
        grown = self.good >= self.patience
        doubled = xp.where(grown, xp.minimum(2 * self.scale, self.largest), self.scale)
        self.scale, self.good = xp.where(finite, doubled, self.scale / 2), xp.where(grown, 0, self.good)
        return finite | (self.scale < 1)                # below 1 it is no matter of scale: let the caller report it

    def numbers(self) -> list:
        return [self.scale, self.good]

    def state(self) -> list:
        return [float(self.scale), int(self.good)]

    def restore(self, numbers):
        self.scale, self.good = numbers

    def to(self, xp):
        self.scale, self.good = xp.asarray(float(self.scale), "float32"), xp.asarray(int(self.good))


def make_precision(name, model):
    """How ``model`` is to be trained, by a name of :data:`PRECISIONS`."""
    if name in ("float32", "tf32"):
        return Full(model, name == "tf32")
    return Mixed(model, half(name, model.namespace is not np))
