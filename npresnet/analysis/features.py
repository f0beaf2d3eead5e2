"""Values and gradients inside a network, read without hooks: by a copy of the model with taps around its layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import Array, Pullback, array_namespace
from ..nn import Module
from ..nn.compose import record
from ..nn.module import needs_module


class Tap(Module):
    """Runs the module ``inner`` and records, for each call, its output and the gradient of that."""

    def __init__(self, inner: Module):
        self.inner = inner
        self.values: list[Array] = []
        self.grads: list[Array | None] = []

    @property
    def trainable(self) -> bool:
        """True: the gradient must reach a tap, whichever parameters are trainable."""
        return True

    def __call__(self, x: Array) -> Array:
        y = self.inner(x)
        self.values.append(y)
        return y

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        y, inner_pullback = record(self.inner, x, input_grad)
        self.values.append(y)
        self.grads.append(None)
        call = len(self.grads) - 1

        def pullback(dy):
            self.grads[call] = dy
            return inner_pullback(dy)

        return y, pullback

    @property
    def after_scores(self) -> bool:
        return self.inner.after_scores


def features(model: Module, x: Array, layers: str | Sequence[str]) -> dict[str, Array]:
    """The output of each named layer for the input x, by name: ``features(model, x, ["layer3.5.conv2"])``.

    One name may stand alone.  A layer that runs several times, as a block's ``relu``, gives ``relu``, ``relu_1``, …
    Raises ValueError for a name that the model does not have, or of a layer that its scores do not need.
    """
    copy, taps = tapped(model, layers)
    copy.logits(x)
    return named(taps, "values")


def feature_gradients(
    model: Module, x: Array, layers: str | Sequence[str], classes: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """(values, gradients) at each named layer: d score[n, classes[n]] / d output.

    The scores are those before a softmax.  The model's own gradients are left alone, and nothing
    before the first named layer is recorded.
    """
    copy, taps = tapped(model, layers)
    scores, pullback = copy.logits_vjp(x, input_grad=False)
    pullback(one_hot(scores, classes))
    return named(taps, "values"), named(taps, "grads")


def one_hot(scores: Array, classes: Any) -> Array:
    """A one at each row's class, (N, K): with this cotangent a pullback gives the gradients of those scores."""
    xp = array_namespace(scores)
    classes = np.asarray(classes)
    if not len(scores):
        raise ValueError("there is no image in this batch: give at least one")
    if (
        classes.shape != scores.shape[:1]
        or classes.dtype.kind not in "iu"
        or classes.min() < 0
        or classes.max() >= scores.shape[1]
    ):
        raise ValueError(
            f"one class of 0 … {scores.shape[1] - 1} for each of {len(scores)} images is needed, not {classes.tolist()}"
        )
    cotangent = xp.zeros_like(scores)
    cotangent[xp.arange(len(scores)), xp.asarray(classes)] = 1
    return cotangent


def tapped(model: Module, layers: str | Sequence[str]) -> tuple[Module, dict[str, Tap]]:
    """(a copy of the model with taps, {name: tap}); the copy shares the arrays, none of them trainable."""
    needs_module(model, "looking inside")
    layers = [layers] if isinstance(layers, str) else layers
    if not isinstance(layers, (list, tuple)) or not all(isinstance(name, str) for name in layers):
        raise ValueError(f'layers are given by their names, such as ["layer1.0.conv1"], not {layers!r}')
    unknown = sorted(set(layers) - {name for name, _ in model.named_modules() if name})
    if unknown:
        raise ValueError(
            f"no layer {', '.join(unknown)}; the model has "
            + ", ".join(name for name in model.children())
            + ", and inside them as layer1.0.conv1"
        )
    copy = model.copy()
    for parameter in copy.parameters():
        parameter.trainable = False
    taps: dict[str, Tap] = {}
    for name in sorted(layers, key=lambda name: -name.count(".")):  # the inner ones first: an outer tap keeps them
        *parents, last = name.split(".")
        parent = copy
        for part in parents:
            parent = getattr(parent, part)
        taps[name] = Tap(getattr(parent, last))
        setattr(parent, last, taps[name])
    return copy, {name: taps[name] for name in layers}


def named(taps: dict[str, Tap], what: str) -> dict[str, Array]:
    """What the taps recorded ("values" or "grads"), by layer; of later calls of one layer under name_1, name_2, …"""
    idle = [name for name, tap in taps.items() if not tap.values]
    if idle:
        raise ValueError(f"nothing runs through {', '.join(idle)} on the way to the scores; choose another layer")
    return {
        name + (f"_{call}" if call else ""): array
        for name, tap in taps.items()
        for call, array in enumerate(getattr(tap, what))
    }
