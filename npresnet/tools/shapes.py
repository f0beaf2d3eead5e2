"""Carry a shape through a model: what every layer gives, and what that costs.

Nothing is convolved.  A model is a tree, mostly of :class:`Chain` and :class:`Residual`, with layers at its leaves;
the walk carries zeros through it, and asks a layer that would cost time for its output's shape only:

    convolution   oh = ⌊(h + 2p − d(k − 1) − 1) / s⌋ + 1        MACs = N · F · oh · ow · (C / groups) · kh · kw
    linear                                                      MACs = N · outputs · inputs

MACs count these two kinds, as torchvision's tables do (it calls them FLOPS; a MAC is two floating-point operations).
"""

from copy import copy
from dataclasses import dataclass
from math import prod

import numpy as np

from ..backend import use
from ..nn import BatchNorm2d, Chain, Conv2d, Identity, Linear, Module, ReLU, Residual, Softmax
from ..nn.layers import Pool
from ..ops.window import Window

SAME_SHAPE = (BatchNorm2d, ReLU, Softmax)


@dataclass(frozen=True)
class Row:
    """One call of one layer.  A layer called twice, such as a block's ReLU, has two rows, its parameters in one."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


def layer_rows(model, input_shape) -> tuple[Row, ...]:
    """One row for every layer call, in the order of execution, for inputs of ``input_shape`` (N, C, H, W).

    The model is not changed, whatever mode it is in.  Raises ValueError, naming the layer, for a shape that cannot
    pass.
    """
    shape = tuple(input_shape)
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"an input shape is (N, C, H, W), all at least 1, not {shape}: write 1x3x224x224")
    walk = Walk(model, batch=shape[0])
    with use("numpy"):
        walk.through(model, zeros((1, *shape[1:])))
    return tuple(walk.rows)


class Walk:
    """Carries one image of zeros through a model and writes a row for every layer that it meets."""

    def __init__(self, model, batch):
        self.batch, self.rows, self.met = batch, [], set()
        self.names = {id(module): name for name, module in model.named_modules()}

    def through(self, module, x):
        """The output of ``module`` for x, all zeros: only its shape has a meaning."""
        if isinstance(module, Chain):
            for part in module.layers():
                x = self.through(part, x)
            return x
        if isinstance(module, Residual):
            branch, shortcut = self.through(module.branch, x), self.through(module.shortcut, x)
            if branch.shape != shortcut.shape:
                raise ValueError(f"the branch gives {branch.shape[1:]}, its shortcut {shortcut.shape[1:]}: no sum")
            return branch
        if module.children():
            return self.through_code(module, x)
        return x if isinstance(module, Identity) else self.leaf(module, x)

    def through_code(self, module, x):
        """The same for a module that runs its parts in its own way: a twin of it runs, whose parts report here."""
        twin = copy(module)
        for name, part in module.children().items():
            setattr(twin, name, Probe(self, part))
        return zeros(twin(x).shape)

    def leaf(self, module, x):
        name = self.names.get(id(module), "")
        try:
            y = zeros(output_shape(module, x))
        except ValueError as error:
            raise ValueError(f"{name or type(module).__name__} cannot take {by((self.batch, *x.shape[1:]))}: "
                             f"{error}") from None
        new = [box for _, box in module.named_parameters() if id(box) not in self.met]
        self.met.update(map(id, new))
        self.rows.append(Row(name, type(module).__name__, (self.batch, *y.shape[1:]),
                             sum(box.value.size for box in new), self.batch * macs(module, y)))
        return y


class Probe(Module):
    """Stands in for a part of a module, and leads what it is given through that part."""

    def __init__(self, walk, part):
        self.walk, self.part = walk, part

    def __call__(self, x):
        return self.walk.through(self.part, x)


def output_shape(layer, x):
    """The shape of layer(x), without computing what is expensive."""
    if isinstance(layer, Conv2d):
        filters, channels, *kernel = layer.weight.value.shape
        if x.shape[1] != channels * layer.groups:
            raise ValueError(f"it reads {channels * layer.groups} channels")
        window = Window.of(tuple(kernel), layer.stride, layer.pads(x), layer.dilation)
        return (x.shape[0], filters, *window.output_size(x.shape[2:]))
    if isinstance(layer, Linear):
        outputs, inputs = layer.weight.value.shape
        if x.shape[1:] != (inputs,):
            raise ValueError(f"it reads {inputs} features")
        return x.shape[0], outputs
    if isinstance(layer, Pool):
        static = {"dilation": 1, "ceil_mode": False, **layer.statics(x)}
        window = Window.of(*(static[name] for name in ("kernel", "stride", "padding", "dilation")))
        window = window.ceil_mode(x.shape[2:]) if static["ceil_mode"] else window
        return (*x.shape[:2], *window.output_size(x.shape[2:]))
    return x.shape if isinstance(layer, SAME_SHAPE) else layer(x).shape


def macs(layer, y):
    """Multiply-accumulates for the output y: a filter's size each time it is applied."""
    if isinstance(layer, Conv2d):
        return y.size * prod(layer.weight.value.shape[1:])
    return layer.weight.value.size * y.shape[0] if isinstance(layer, Linear) else 0


def zeros(shape):
    """Zeros of any shape that take four bytes."""
    return np.broadcast_to(np.float32(0), shape)


def by(shape):
    """(1, 3, 224, 224) → "1x3x224x224" """
    return "x".join(map(str, shape))
