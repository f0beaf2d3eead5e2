"""The numbers of a golden pack's cases as npresnet computes them: of one op, or of a whole narrow network."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import nn, ops
from ..backend import Array, array_namespace, to_device
from ..models.classifier import Classifier
from ..models.published import details
from ..models.registry import FAMILY
from .fixed_weights import draw, draw_weights, project

CLASSES = 5
STEPS = 10
SMALL = 8  # arrays of so many entries are kept as they are


def replay_op(case: Mapping[str, Any], expected: Mapping[str, Array], dtype: np.dtype, device: str) -> dict[str, Array]:
    """The value, extras and gradients of one op for the stored arguments and cotangent."""
    given = {name: to_device(expected[f"given: {name}"].astype(dtype), device) for name in case["given"]}
    if "labels" in given:
        given["labels"] = given["labels"].astype(np.int64)
    op, (first, *others) = getattr(ops, case["op"]), case["arguments"]
    y, pullback, *extras = op(given[first], **{name: given[name] for name in others}, **case["static"])
    gradients = pullback(given["dy"])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    found = {"value: y": y} | {f"value: {i}": extra for i, extra in enumerate(extras[0] if extras else ())}
    found |= {f"gradient: {name}": g for name, g in zip(op.positional, gradients, strict=False) if g is not None}
    return {name: on_cpu(a) for name, a in found.items()}


def narrow(case: Mapping[str, Any]) -> Classifier:
    """The case's architecture with few channels, in eval mode, its weights drawn."""
    entry = FAMILY[case["model"]]
    flavour = details(case["model"], case["dialect"], **{**entry.defaults, **case["options"]})
    return draw_weights(entry.build(flavour, num_classes=CLASSES, in_channels=3, **case["build"]))


def given(case: Mapping[str, Any]) -> tuple[Array, Array]:
    """The images and labels of a case."""
    n, side = case["batch"], case["side"]
    return draw("images", (n, 3, side, side)) * 1.7, np.arange(n) % CLASSES


def replay_network(
    case: Mapping[str, Any], expected: Mapping[str, Array], dtype: np.dtype, device: str
) -> dict[str, Array]:
    """Every array of a narrow network; in float32 only those that ten steps and rare kinks leave comparable."""
    model: Any = to_device(narrow(case).astype(dtype), device)
    images, labels = given(case)
    x, labels = to_device(images.astype(dtype), device), to_device(labels, device)
    found: dict[str, Array] = {}
    for mode in ("train", "eval"):
        values = block_values(model.copy().train(mode == "train"), x)
        found |= {f"blocks: {mode} {name}": a for name, a in values.items()}
        found |= step(model.copy().train(mode == "train"), x, labels, mode, dtype == np.float64)
    if dtype == np.float64:
        found["descent: losses"] = descent(model.copy().train(), x, labels, case["rate"])
    return compact({name: on_cpu(a) for name, a in found.items()})


def block_values(model: Classifier, x: Array) -> dict[str, Array]:
    """The value of the stem and of every block."""
    names, values = {id(part): name for name, part in model.named_modules()}, {}
    for part in model.features_and_scores():
        if part is model.layer1:
            values["stem"] = x
        blocks = part.layers() if isinstance(part, nn.Sequential) and names[id(part)].startswith("layer") else [part]
        for block in blocks:
            x = block(x)
            if len(blocks) > 1 or block is not part:
                values[names[id(block)]] = x
    return values


def step(model: nn.Module, x: Array, labels: Array, mode: str, gradients: bool = True) -> dict[str, Array]:
    """Logits, loss, and then the gradients and the buffers that a step leaves behind."""
    logits, pullback = model.logits_vjp(x)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    found: dict[str, Any] = {f"logits: {mode}": logits, f"loss: {mode}": loss}
    if gradients:
        found[f"gradient: {mode} x"] = pullback(dlogits())
        found |= {f"gradient: {mode} {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    if mode == "train":
        found |= {f"buffers: {name}": b.value for name, b in model.named_arrays() if isinstance(b, nn.Buffer)}
    return found


def descent(model: nn.Module, x: Array, labels: Array, rate: float, steps: int = STEPS) -> Array:
    """The loss before each step of plain gradient descent."""
    losses = []
    for _ in range(steps):
        logits, pullback = model.logits_vjp(x, input_grad=False)
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)
        model.zero_grad()
        pullback(dlogits())
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.value = parameter.value - rate * parameter.grad
        losses.append(float(loss))
    return np.array(losses)


def compact(found: Mapping[str, Array]) -> dict[str, Array]:
    """Small arrays and the losses of the descent as they are, projections of every other."""
    return {name: a if a.size <= SMALL or name.startswith("descent") else project(name, a) for name, a in found.items()}


def on_cpu(a: Any) -> Array:
    return np.asarray(a if array_namespace(a) is np or np.isscalar(a) else a.get())
