"""One table of modules: every layer with every option, and the ways to compose them."""

import numpy as np

from npresnet.models.squeeze import EfficientAttention, SqueezeExcite
from npresnet.nn import (
    GELU,
    AvgPool2d,
    BatchNorm2d,
    BlurPool2d,
    Buffer,
    Chain,
    ChannelConv,
    Conv2d,
    GlobalAvgPool2d,
    GroupNorm,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    SiLU,
    Softmax,
    Subsample,
    ZeroPad2d,
    ZeroPadChannels,
    freeze_batch_norm,
)

IMAGE = (3, 4, 6, 5)


class Twice(Chain):
    """A chain that runs one of its parts twice."""

    def __init__(self):
        self.conv, self.relu = Conv2d(4, 4, 3, padding=1), ReLU()

    def layers(self):
        return self.conv, self.relu, self.conv, self.relu


def block():
    return Sequential(Conv2d(4, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Conv2d(4, 4, 3, padding=1, bias=True))


TABLE = {  # name: (a function that makes the module, the shape of its input)
    "conv": (lambda: Conv2d(4, 3, 3), IMAGE),
    "conv with every option": (lambda: Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, True), IMAGE),
    "conv 'same'": (lambda: Conv2d(4, 3, (3, 2), stride=2, padding="same", dilation=(1, 2)), IMAGE),
    "conv asymmetric": (lambda: Conv2d(4, 3, 3, stride=2, padding=((0, 1), (2, 0))), IMAGE),
    "batch norm": (lambda: BatchNorm2d(4), IMAGE),
    "batch norm in training": (lambda: BatchNorm2d(4, eps=0.1).train(), IMAGE),
    "batch norm without a momentum": (lambda: BatchNorm2d(4, momentum=None).train(), IMAGE),
    "batch norm frozen": (lambda: freeze_batch_norm(BatchNorm2d(4)).train(), IMAGE),
    "group norm": (lambda: GroupNorm(2, 4, eps=0.1), IMAGE),
    "group norm in training": (lambda: GroupNorm(1, 4).train(), IMAGE),
    "linear": (lambda: Linear(5, 7), (3, 5)),
    "linear without bias": (lambda: Linear(5, 7, bias=False), (3, 5)),
    "relu": (ReLU, IMAGE),
    "leaky relu": (lambda: LeakyReLU(0.2), IMAGE),
    "gelu": (GELU, IMAGE),
    "silu": (SiLU, (3, 5)),
    "softmax": (Softmax, (3, 5)),
    "global average": (GlobalAvgPool2d, IMAGE),
    "max pool": (lambda: MaxPool2d(3, stride=2, padding=1), IMAGE),
    "max pool with options": (lambda: MaxPool2d(2, 2, dilation=2, ceil_mode=True), IMAGE),
    "max pool 'same'": (lambda: MaxPool2d((3, 2), stride=2, padding="same"), IMAGE),
    "average pool": (lambda: AvgPool2d(2, stride=2), IMAGE),
    "average pool with options": (lambda: AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), IMAGE),
    "average pool 'same'": (lambda: AvgPool2d(3, stride=2, padding="same"), IMAGE),
    "blur pool": (lambda: BlurPool2d(stride=2), IMAGE),
    "conv along the channels": (lambda: ChannelConv(3), (3, 5, 1, 1)),
    "attention": (lambda: EfficientAttention(4), IMAGE),
    "squeeze": (lambda: SqueezeExcite(4), IMAGE),
    "subsample": (lambda: Subsample(stride=2), IMAGE),
    "zero pad": (lambda: ZeroPad2d(padding=((1, 0), (2, 3))), IMAGE),
    "zero channels": (lambda: ZeroPadChannels(before=1, after=2), IMAGE),
    "identity": (Identity, IMAGE),
    "nothing": (Sequential, IMAGE),
    "sequential": (block, IMAGE),
    "sequential in training": (lambda: block().train(), IMAGE),
    "a part twice": (Twice, IMAGE),
    "residual": (lambda: Residual(block(), Identity()), IMAGE),
    "residual of a projection": (lambda: Residual(Conv2d(4, 5, 3, padding=1), Conv2d(4, 5, 1)), IMAGE),
    "residual of option A": (
        lambda: Residual(Conv2d(4, 6, 3, 2, 1), Sequential(Subsample(stride=2), ZeroPadChannels(before=1, after=1))),
        IMAGE,
    ),
    "nested": (lambda: Sequential(Residual(block(), Identity()), ReLU(), GlobalAvgPool2d(), Linear(4, 3)), IMAGE),
}


def fill(module, seed=0):
    """Random numbers in every array; variances positive, counts left alone."""
    rng = np.random.default_rng(seed)
    for name, parameter in module.named_arrays():
        if parameter.value.dtype.kind == "f":
            value = rng.standard_normal(parameter.value.shape)
            parameter.value = (value**2 + 0.1 if name.endswith("running_var") else value).astype(parameter.value.dtype)
    return module


def made(name, dtype=np.float64):
    """(module, x) of the table, filled."""
    make, shape = TABLE[name]
    rng = np.random.default_rng(1)
    x = rng.permutation(np.linspace(-2, 2, int(np.prod(shape)))).reshape(shape)  # no ties for the max pools
    return fill(make()).astype(dtype), x.astype(dtype)


def lock(module):
    """The module with every array read-only."""
    for _, parameter in module.named_arrays():
        parameter.value.flags.writeable = False
    return module


class Leaf(Chain):
    """A chain with arrays of its own, assigned in an order that is not the state dict's."""

    def __init__(self):
        self.count = Buffer(np.zeros(2))
        self.inner = Linear(2, 2)
        self.scale = Parameter(np.ones(2))
        self.note = "not an array"
        self.shift = Parameter(np.ones(1), trainable=False)
        self.nothing = None
