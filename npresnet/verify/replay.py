"""npresnet's own answers to a golden pack's questions: of an op its value and gradients, of a narrow network all."""

import numpy as np

from .. import nn, ops
from ..backend import array_namespace, to_device
from ..models.published import details
from ..models.registry import FAMILY
from .fixed_weights import draw, draw_weights, project

CLASSES = 5
STEPS = 10
SMALL = 16          # arrays of so many entries are kept whole even where the others are projected


def replay_op(case, due, dtype, device):
    """The value, extras and gradients of one op for the stored arguments and cotangent."""
    given = {name: to_device(due[f"given: {name}"].astype(dtype), device) for name in case["given"]}
    if "labels" in given:
        given["labels"] = given["labels"].astype(np.int64)
    y, pullback, *extras = getattr(ops, case["op"])(*(given[name] for name in case["arguments"]), **case["static"])
    gradients = pullback(given["dy"])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    answers = {"value: y": y} | {f"value: {i}": extra for i, extra in enumerate(extras[0] if extras else ())}
    answers |= {f"gradient: {name}": g for name, g in zip(case["arguments"], gradients) if g is not None}
    return {name: on_cpu(a) for name, a in answers.items()}


def narrow(case):
    """The case's architecture with few channels, in eval mode, its weights drawn."""
    entry = FAMILY[case["model"]]
    flavour = details(case["model"], case["dialect"], **{**entry.defaults, **case["options"]})
    return draw_weights(entry.build(flavour, num_classes=CLASSES, in_channels=3, **case["build"]))


def given(case):
    """The images and labels of a case."""
    n, side = case["batch"], case["side"]
    return draw("images", (n, 3, side, side)) * 1.7, np.arange(n) % CLASSES


def replay_network(case, due, dtype, device):
    """Every answer of a narrow network: in float32 those that ten steps and rare kinks leave comparable."""
    model = to_device(narrow(case).astype(dtype), device)
    x, labels = (to_device(a, device) for a in given(case))
    x, answers = x.astype(dtype), {}
    for mode in ("train", "eval"):
        twin = model.copy().train(mode == "train")
        answers |= {f"blocks: {mode} {name}": a for name, a in block_values(twin, x).items()}
        twin = model.copy().train(mode == "train")
        answers |= step(twin, x, labels, mode, dtype == np.float64)
    if dtype == np.float64:
        answers["descent: losses"] = descent(model.copy().train(), x, labels, case["rate"])
    return compact({name: on_cpu(a) for name, a in answers.items()}, case["projected"])


def block_values(model, x):
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


def step(model, x, labels, mode, gradients=True):
    """Logits, loss, and then the gradients and the buffers that a step leaves behind."""
    logits, pullback = model.logits_vjp(x)
    loss, dlogits = ops.softmax_cross_entropy(logits, labels)
    answers = {f"logits: {mode}": logits, f"loss: {mode}": loss}
    if gradients:
        answers[f"gradient: {mode} x"] = pullback(dlogits())
        answers |= {f"gradient: {mode} {name}": box.grad for name, box in model.named_parameters()}
    if mode == "train":
        answers |= {f"buffers: {name}": box.value for name, box in model.named_arrays() if isinstance(box, nn.Buffer)}
    return answers


def descent(model, x, labels, rate, steps=STEPS):
    """The loss before each step of plain gradient descent."""
    losses = []
    for _ in range(steps):
        logits, pullback = model.logits_vjp(x, input_grad=False)
        loss, dlogits = ops.softmax_cross_entropy(logits, labels)
        model.zero_grad()
        pullback(dlogits())
        for box in model.parameters():
            box.value = box.value - rate * box.grad
        losses.append(float(loss))
    return np.array(losses)


def compact(answers, projected):
    """Eight projections of every larger array where the case asks for them, and of every gradient in eval mode."""
    return {name: project(name, a) if a.size > SMALL and (projected or name.startswith("gradient: eval")) else a
            for name, a in answers.items()}


def on_cpu(a):
    return np.asarray(a if array_namespace(a) is np or np.isscalar(a) else a.get())
