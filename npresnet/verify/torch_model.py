"""A model run by PyTorch: the same chains and sums, with every layer computed by torch.

The one module of the package that imports torch, and only when it is used.
"""

from functools import reduce
from typing import Any

import numpy as np

from .. import nn
from ..backend import Array
from ..models.classifier import Classifier
from ..nn.visit import Visitor
from ..ops.window import Window


def import_torch() -> Any:
    """torch, or an ImportError that says how to get it."""
    try:
        import torch
    except ImportError:
        raise ImportError(
            "a comparison with PyTorch needs it: pip install torch; without --weights npresnet "
            "is compared with stored results, which needs nothing"
        ) from None
    return torch


def torch_results(model: Classifier, x: Array, labels: Array, training: bool) -> dict[str, Array]:
    """What PyTorch computes with the model's arrays, named as in :func:`npresnet.verify.replay.step`."""
    torch = import_torch()
    mode = "train" if training else "eval"
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in model.state_dict().items()}
    learned = {name: tensors[name].requires_grad_() for name, _ in model.named_parameters()}
    images, run = torch.from_numpy(x).requires_grad_(), Run(model, tensors, training)
    logits = reduce(lambda x, part: run.visit(part, x), model.features_and_scores(), images)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    found = {f"logits: {mode}": logits, f"loss: {mode}": loss, f"gradient: {mode} x": images.grad}
    found |= {f"gradient: {mode} {name}": t.grad for name, t in learned.items()}
    if training:
        found |= {f"buffers: {key}": t for key, t in tensors.items() if key not in learned}
    return {name: np.asarray(t.detach()) for name, t in found.items()}


class Run(Visitor):
    """One pass through a model in torch; the running statistics among ``tensors`` move in place."""

    def __init__(self, model: nn.Module, tensors: dict[str, Any], training: bool):
        super().__init__(model)
        self.F, self.tensors, self.training = import_torch().nn.functional, tensors, training

    def leaf(self, module, x, name):
        kinds = [kind for kind in type(module).__mro__ if hasattr(self, kind.__name__)]
        if not kinds:
            raise ValueError(f"no counterpart in PyTorch for {type(module).__name__}")
        return getattr(self, kinds[0].__name__)(module, x)

    def array(self, module: nn.Module, name: str) -> Any:
        where = self.names[id(module)]
        return self.tensors.get(f"{where}.{name}" if where else name)

    def Conv2d(self, module, x):
        weight, bias = self.array(module, "weight"), self.array(module, "bias")
        x = self.padded(x, module.padding, module.window_size(), module.stride, module.dilation)
        return self.F.conv2d(x, weight, bias, module.stride, 0, module.dilation, module.groups)

    def BatchNorm2d(self, module, x):
        mean, var, weight, bias = (
            self.array(module, name) for name in ("running_mean", "running_var", "weight", "bias")
        )
        if mean is None:
            return self.F.batch_norm(x, None, None, weight, bias, True, 0.0, module.eps)
        if not self.training or module.frozen:
            return self.F.batch_norm(x, mean, var, weight, bias, False, 0.0, module.eps)
        seen = self.array(module, "num_batches_tracked").add_(1)
        r = 1 / float(seen) if module.momentum is None else module.momentum
        if not module.unbiased:  # PyTorch knows only the unbiased variance
            values = x.detach()
            mean.copy_((1 - r) * mean + r * values.mean((0, 2, 3)))
            var.copy_((1 - r) * var + r * values.var((0, 2, 3), unbiased=False))
            return self.F.batch_norm(x, None, None, weight, bias, True, 0.0, module.eps)
        return self.F.batch_norm(x, mean, var, weight, bias, True, r, module.eps)

    def GroupNorm(self, module, x):
        return self.F.group_norm(x, module.groups, self.array(module, "weight"), self.array(module, "bias"), module.eps)

    def ReLU(self, module, x):
        return self.F.relu(x)

    def LeakyReLU(self, module, x):
        return self.F.leaky_relu(x, module.static["negative_slope"])

    def GELU(self, module, x):
        return self.F.gelu(x)

    def SiLU(self, module, x):
        return self.F.silu(x)

    def Linear(self, module, x):
        return self.F.linear(x, self.array(module, "weight"), self.array(module, "bias"))

    def GlobalAvgPool2d(self, module, x):
        return x.mean((2, 3))

    def MaxPool2d(self, module, x):
        static = {"dilation": 1, **module.static}
        window = (static[name] for name in ("padding", "kernel", "stride", "dilation"))
        x = self.padded(x, *window, fill=-np.inf)
        return self.F.max_pool2d(x, static.pop("kernel"), **{**static, "padding": 0})

    def AvgPool2d(self, module, x):
        static = dict(module.static)
        if isinstance(static["padding"], str):
            x = self.padded(x, static.pop("padding"), static["kernel"], static["stride"])
        return self.F.avg_pool2d(x, static.pop("kernel"), **static)

    def Subsample(self, module, x):
        stride = module.static["stride"]
        return x[:, :, ::stride, ::stride]

    def ZeroPadChannels(self, module, x):
        return self.F.pad(x, (0, 0, 0, 0, module.static["before"], module.static["after"]))

    def AdaptiveAvgPool2d(self, module, x):
        return self.F.adaptive_avg_pool2d(x, module.static["output_size"])

    def ConstantPad2d(self, module, x):
        return self.padded(x, module.static["padding"], fill=module.static["value"])

    def ZeroPad2d(self, module, x):
        return self.padded(x, module.static["padding"])

    def SqueezeExcite(self, module, x):
        z = self.Conv2d(module.fc2, self.F.relu(self.Conv2d(module.fc1, x.mean((2, 3), keepdim=True))))
        return x * self.F.sigmoid(z)

    def EfficientAttention(self, module, x):
        weight = self.array(module.conv, "weight")
        z = self.F.conv1d(x.mean((2, 3))[:, None, :], weight, padding=weight.shape[2] // 2)
        return x * self.F.sigmoid(z)[:, 0, :, None, None]

    def BlurPool2d(self, module, x):
        filters = import_torch().tensor([1.0, 2.0, 1.0], dtype=x.dtype) / 4
        weight = (filters[:, None] * filters).expand(x.shape[1], 1, 3, 3)
        x = self.F.pad(x, (1, 1, 1, 1), mode="reflect")
        return self.F.conv2d(x, weight, None, module.static["stride"], groups=x.shape[1])

    def padded(self, x, padding, kernel=1, stride=1, dilation=1, fill=0.0):
        (top, bottom), (left, right) = Window.of(kernel, stride, padding, dilation, x.shape[2:]).padding
        return self.F.pad(x, (left, right, top, bottom), value=fill)
