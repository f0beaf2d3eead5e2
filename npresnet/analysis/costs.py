"""What one layer gives and costs, without running it.

    convolution   oh = ⌊(h + 2p − d(k − 1) − 1) / s⌋ + 1        MACs = N · F · oh · ow · (C / groups) · kh · kw
    linear                                                      MACs = N · outputs · inputs

MACs count these two kinds, as torchvision's tables do (it calls them FLOPS; a MAC is two floating-point operations).
"""

from math import prod

import numpy as np

from ..nn import BatchNorm2d, Conv2d, Linear, ReLU, Softmax
from ..nn.layers import Pool
from ..ops.window import Window, pair

SAME_SHAPE = (BatchNorm2d, ReLU, Softmax)


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


def kernel(layer):
    """(kh, kw) of what slides over an image."""
    if isinstance(layer, Conv2d):
        return tuple(layer.weight.value.shape[2:])
    return tuple(pair(layer.static["kernel"])) if isinstance(layer, Pool) else ()


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
