"""What a network holds inside, read without hooks: a twin of the model, sharing its arrays, carries the taps."""

import numpy as np

from ..backend import array_namespace
from ..nn import Module
from ..nn.compose import record
from ..nn.module import needs_module


class Tap(Module):
    """The module inside it, and a list of what went through: a value a call, and the gradient that came back."""

    trainable = True    # a tap wants the gradient, whatever the parameters before it want

    def __init__(self, inner):
        self.inner, self.values, self.grads = inner, [], []

    def __call__(self, x):
        y = self.inner(x)
        self.values.append(y)
        return y

    def vjp(self, x, input_grad=True):
        y, inner_pullback = record(self.inner, x, input_grad)
        self.values.append(y)
        self.grads.append(None)
        call = len(self.grads) - 1

        def pullback(dy):
            self.grads[call] = dy
            return inner_pullback(dy)

        return y, pullback

    @property
    def after_scores(self):
        return self.inner.after_scores


def features(model, x, layers) -> dict:
    """The output of each named layer for the input x, by name: ``features(model, x, ["layer3.5.conv2"])``.

    One name may stand alone.  A layer that runs several times, as a block's ``relu``, gives ``relu``, ``relu_1``, …
    Raises ValueError for a name that the model does not have, or of a layer that its scores do not need.
    """
    twin, taps = tapped(model, layers)
    twin.logits(x)
    return named(taps, "values")


def feature_gradients(model, x, layers, classes) -> tuple[dict, dict]:
    """(values, gradients) at each named layer: d score[n, classes[n]] / d output.

    The scores are those before a softmax.  The model's own gradients are left alone, and nothing
    before the first named layer is recorded.
    """
    twin, taps = tapped(model, layers)
    scores, pullback = twin.logits_vjp(x, input_grad=False)
    pullback(one_hot(scores, classes))
    return named(taps, "values"), named(taps, "grads")


def one_hot(scores, classes):
    """A one at each row's class: the cotangent that asks for the gradient of that score.  (N, K)"""
    xp = array_namespace(scores)
    classes = np.asarray(classes)
    if not len(scores):
        raise ValueError("there is no image in this batch: give at least one")
    if (classes.shape != scores.shape[:1] or classes.dtype.kind not in "iu"
            or classes.min() < 0 or classes.max() >= scores.shape[1]):
        raise ValueError(f"one class of 0 … {scores.shape[1] - 1} for each of {len(scores)} images is needed, "
                         f"not {classes.tolist()}")
    cotangent = xp.zeros_like(scores)
    cotangent[xp.arange(len(scores)), xp.asarray(classes)] = 1
    return cotangent


def tapped(model, layers):
    """(a twin of the model with taps, {name: tap}); the twin shares the arrays and wants no parameter's gradient."""
    needs_module(model, "looking inside")
    layers = [layers] if isinstance(layers, str) else layers
    if not isinstance(layers, (list, tuple)) or not all(isinstance(name, str) for name in layers):
        raise ValueError(f"layers are given by their names, such as [\"layer1.0.conv1\"], not {layers!r}")
    unknown = sorted(set(layers) - {name for name, _ in model.named_modules() if name})
    if unknown:
        raise ValueError(f"no layer {', '.join(unknown)}; the model's own: "
                         + ", ".join(name for name in model.children()) + ", and inside them as layer1.0.conv1")
    twin = model.copy()
    for box in twin.parameters():
        box.trainable = False
    taps = {}
    for name in sorted(layers, key=lambda name: -name.count(".")):      # the inner ones first: an outer tap keeps them
        *path, last = name.split(".")
        parent = twin
        for part in path:
            parent = getattr(parent, part)
        taps[name] = Tap(getattr(parent, last))
        setattr(parent, last, taps[name])
    return twin, {name: taps[name] for name in layers}


def named(taps, what) -> dict:
    idle = [name for name, tap in taps.items() if not tap.values]
    if idle:
        raise ValueError(f"nothing runs through {', '.join(idle)} on the way to the scores; choose another layer")
    return {name + (f"_{call}" if call else ""): array
            for name, tap in taps.items() for call, array in enumerate(getattr(tap, what))}
