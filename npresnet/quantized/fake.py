"""A float model that computes what its integers will: every value and every weight lies on its levels.      [J] §3

    weights      W = a w, b = a b₀ + c folded with the batch norm's running statistics; of each filter the levels
                 follow its largest weight
    activations  the levels follow moving averages of the batches' ranges for some batches, then stay
    pullback     straight through the rounding, and 0 where a value saturates: ops.fake_quantize

A model that is trained so learns weights that survive the rounding; its integer network computes the same scores, to
the rounding of float32.  Batch norms are trained by their gamma and beta, their statistics stay.

[J] Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    arXiv:1712.05877
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn, ops
from ..backend import Array, Pullback
from ..models.classifier import Classifier
from ..nn.module import once
from .calibrate import integer_arrays, rounded_biases, weight_scale
from .float_step import INPUT, FloatStep
from .lower import lower
from .network import QuantizedNetwork, assemble, is_weighted
from .observers import MovingAverage, affine

OBSERVED = 200  # batches that the ranges follow


class FakeQuantized:
    """``model`` as its integers compute it, by :meth:`logits` and, for training, :meth:`vjp`.

    ``observed`` counts the batches that the ranges have followed; ``weight_bits`` are 2 to 8.

    Raises ValueError for a layer that has no equivalent on integers.
    """

    namespace = np

    def __init__(self, model: Classifier, weight_bits: int = 8):
        self.model, self.weight_bits, self.steps = model, weight_bits, lower(model)
        self.dtype, self.preprocessing = np.dtype(np.float32), model.preprocessing
        self.ranges = {name: MovingAverage() for name in [INPUT] + [step.name for step in self.steps if step.has_scale]}
        self.observed = 0

    def logits(self, x: Array) -> Array:
        """The scores (N, K); the ranges stay as they are."""
        return self._run(x, observe=False)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """The scores of a batch of training images, and the map that fills the gradients of the model's parameters."""
        observe = self.observed < OBSERVED
        self.observed += observe
        scores, pullbacks = self._run(x, observe)

        def pullback(dscores: Array) -> None:
            d = {self.steps[-1].name: dscores}
            while pullbacks:
                step, back = pullbacks.pop()
                for name, dx in zip(step.inputs, back(d.pop(step.name))):
                    d[name] = d[name] + dx if name in d else dx

        return scores, once(pullback)

    def network(self, model: Classifier | None = None) -> QuantizedNetwork:
        """The integer network of the model, or of another with the same layers and other weights, in these ranges."""
        steps = lower(model or self.model)
        arrays = integer_arrays(steps, {name: seen.range() for name, seen in self.ranges.items()}, 8, self.weight_bits)
        return assemble(steps, arrays | rounded_biases(steps, arrays), model or self.model)

    def of(self, model: Classifier) -> "FakeQuantized":
        """The same of another model with the same layers; the ranges are shared."""
        other = FakeQuantized(model, self.weight_bits)
        other.ranges, other.observed = self.ranges, self.observed
        return other

    def state(self) -> list[float]:
        """What changes from batch to batch besides the weights, numbers that are not below 0: the count, the ranges."""
        ends = [end for seen in self.ranges.values() for end in (max(-seen.low, 0.0), max(seen.high, 0.0))]
        return [self.observed, *(ends if self.observed else [0.0] * len(ends))]

    def restore(self, state: Sequence[float]) -> None:
        """Take over what :meth:`state` gave."""
        self.observed, ends = int(state[0]), iter(state[1:])
        for seen in self.ranges.values():
            low, high = -next(ends), next(ends)
            if self.observed:
                seen.low, seen.high = low, high

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _run(self, x: Array, observe: bool) -> tuple[Array, list[tuple[FloatStep, Any]]]:
        """(scores, each step with its pullback)."""
        levels: dict[str, tuple[float, int]] = {}
        values = {INPUT: self._rounded(INPUT, x, levels, observe)[0]}
        pullbacks = []
        for step in self.steps:
            inputs = [values[name] for name in step.inputs]
            values[step.name], back = self._step(step, inputs, levels, observe)
            pullbacks.append((step, back))
        return values[self.steps[-1].name], pullbacks

    def _step(self, step: FloatStep, x: list[Array], levels: dict[str, tuple[float, int]], observe: bool):
        """(y, pullback(dy) → a cotangent of each input) of one step, y on its levels."""
        before = levels[step.inputs[0]]
        if not step.has_scale:
            levels[step.name], s = before, np.float32(before[0])
            whole, back = step.layers[0].vjp(np.rint(x[0] / s))  # a mean of whole numbers is halfway where theirs is
            return np.rint(whole) * s, lambda dy: (back(dy),)
        y, back = weighted_vjp(step, x[0], before[0], self.weight_bits) if is_weighted(step) else ops.add(*x)
        y, relu_back = ops.relu(y) if step.relu else (y, lambda dy: dy)
        y, straight = self._rounded(step.name, y, levels, observe)

        def pullback(dy: Array) -> tuple[Array, ...]:
            dx = back(relu_back(straight(dy)))
            return dx if isinstance(dx, tuple) else (dx,)

        return y, pullback

    def _rounded(self, name: str, y: Array, levels: dict[str, tuple[float, int]], observe: bool):
        """y on the levels of a name, whose range follows it where ``observe`` says so, and the pullback."""
        if observe:
            self.ranges[name].observe(y)
        levels[name] = affine(*self.ranges[name].range())
        return ops.fake_quantize(y, *levels[name])


def weighted_vjp(step: FloatStep, x: Array, scale: float, bits: int) -> tuple[Array, Pullback]:
    """A convolution or a classifier with rounded weights and biases; its pullback also reaches the parameters."""
    w, b = step.affine()
    w_scale, last = weight_scale(w, bits), 2 ** (bits - 1) - 1
    sums = np.float32(scale) * w_scale.astype(np.float64)
    column = w_scale.astype(np.float64).reshape(-1, *(1,) * (w.ndim - 1))
    w, straight = ops.fake_quantize(w, column, levels=(-last, last))
    w, b = w.astype(np.float32), (np.rint(b / sums) * sums).astype(np.float32)
    y, back = ops.linear(x, w, b) if w.ndim == 2 else ops.conv2d(x, w, b, **step.window)

    def pullback(dy: Array) -> Array:
        dx, dw, db = back(dy)
        parameter_gradients(step, straight(dw.astype(np.float64)), db.astype(np.float64))
        return dx

    return y, pullback


def parameter_gradients(step: FloatStep, dw: Array, db: Array) -> None:
    """Add the gradients of W = a w and b = a b₀ + β − a μ, a = γ / √(σ² + ε), to those of the parameters.

    dw += a dW,    db₀ += a db,    dβ += db,    dγ += (Σ dW · w + db · (b₀ − μ)) / √(σ² + ε)
    """
    layer, norms = step.layers[0], [part for part in step.layers if isinstance(part, nn.BatchNorm2d)]
    convolution = layer if isinstance(layer, nn.Conv2d | nn.Linear) else None
    bias = None if convolution is None else convolution.bias
    for norm in norms:
        a, _ = norm.affine_map()
        w = np.ones(dw.shape) if convolution is None else convolution.weight.value
        b = 0 if bias is None else bias.value
        da = (dw * w).reshape(len(dw), -1).sum(1) + db * (b - running(norm.running_mean))
        give(norm.weight, da * (running(norm.running_var) + norm.eps) ** -0.5)
        give(norm.bias, db)
        dw, db = dw * a.reshape(-1, *(1,) * (dw.ndim - 1)), db * a
    if convolution is not None:
        give(convolution.weight, dw)
        give(bias, db)


def running(buffer: nn.Buffer | None) -> Array:
    """Stored statistics, in float64."""
    if buffer is None:
        raise ValueError("a batch norm without running statistics cannot be quantized")
    return buffer.value.astype(np.float64)


def give(parameter: nn.Parameter | None, grad: Array) -> None:
    """Add to a parameter's gradient, where it is trained."""
    if parameter is not None and parameter.trainable:
        parameter.accumulate(grad.astype(parameter.value.dtype))
