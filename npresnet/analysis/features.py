"""Values and gradients inside a network, read without hooks: by a copy of the model with taps around its layers."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from ..backend import Array, Pullback, array_namespace, as_array, floating
from ..nn import GlobalAvgPool2d, Module
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


@overload
def features(model: Any, images: Any, after: str | None = None) -> Array: ...
@overload
def features(model: Any, images: Any, after: Sequence[str]) -> dict[str, Array]: ...
def features(model: Any, images: Any, after: str | Sequence[str] | None = None) -> Array | dict[str, Array]:
    """The pooled features (N, C) of images, which the classifier reads; or the output of the layer called ``after``.

    model    a model, or its engine, which is faster and knows the outputs of blocks
    images   arrays of floats (N, C, H, W) as the model takes them, or whatever :func:`preprocess` takes, such as a path
    after    None; a name, such as "layer3" (of a layer that runs several times its last output); or a list of names:
             {name: output}, where a layer that runs several times gives ``relu``, ``relu_1``, …

    Raises ValueError for a name that the model does not have, or of a layer that its scores do not need.

        >>> import numpy as np, npresnet
        >>> model = npresnet.create_model("resnet20")
        >>> npresnet.features(model, np.zeros((2, 3, 32, 32), np.float32)).shape
        (2, 64)
    """
    if not isinstance(model, Module) and hasattr(model, "features"):  # an engine
        x = network_input(images, model)
        if after is None or isinstance(after, str):
            return model.features(x, after)
        return {name: model.features(x, name) for name in after}
    needs_module(model, "features")
    layers = pooling(model) if after is None else after
    copy, taps = tapped(model, layers)
    x = network_input(images, model)
    if getattr(getattr(model, "spec", None), "num_classes", None) == 0:
        copy(x)  # there are no scores
    else:
        copy.logits(x)
    return list(named(taps, "values").values())[-1] if isinstance(layers, str) else named(taps, "values")


def network_input(images: Any, model: Any) -> Array:
    """Arrays of floats (N, C, H, W) themselves, anything else by :func:`preprocess`."""
    if getattr(images, "ndim", 0) == 4 and floating(as_array(images, "images").dtype):
        return as_array(images, "images")
    from ..data import preprocess

    return preprocess(images, model)


def pooling(model: Module) -> str:
    """The name of the layer whose output is pooled over the image: the last of the model's own, not inside a block."""
    names = [name for name, part in model.children().items() if type(part) is GlobalAvgPool2d]
    if not names:
        raise ValueError(f"a {type(model).__name__} does not pool its features: name the layer to read, after=NAME")
    return names[-1]


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
