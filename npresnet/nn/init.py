"""Initial values.  Building a model allocates zeros; :func:`initialize` draws.

[H] He et al. 2015, Delving deep into rectifiers, arXiv:1502.01852
[G] Goyal et al. 2017, Accurate, large minibatch SGD, arXiv:1706.02677
"""

from collections.abc import Iterator

import numpy as np

from .layers import BatchNorm2d, ChannelConv, Conv2d, GroupNorm, Linear
from .module import Model, Module, Parameter, needs_module


def initialize(model: Model, seed: int = 0, part: Module | None = None) -> Model:
    """Draw fresh weights, in place, as torchvision does; with ``part`` only for that part of the model, and the same.

        convolutions   w ~ N(0, 2/fan_out)            [H] §2.2, Eq. 14
        norms          γ = 1, β = 0
        classifier     w, b ~ U(±1/√fan_in), and so a convolution along the channels

    fan_out is filters · kh · kw: what each input value is read by.  The variance is that for a ReLU, whichever
    activation follows, as in torchvision.  The same seed gives the same weights on every machine.
    """
    needs_module(model, "initialize")
    rng = np.random.default_rng(seed)
    taking = set((model if part is None else part).modules())
    for module in model.modules():
        for parameter, array in drawn(module, rng):  # for all, so that a part gets what it gets in the whole
            if module in taking:
                parameter.value = array
    return model


def drawn(module: Module, rng: np.random.Generator) -> Iterator[tuple[Parameter, np.ndarray]]:
    """The parameters of a single layer that are drawn, each with its fresh array."""
    if isinstance(module, Conv2d):
        filters, _, kh, kw = module.weight.value.shape
        std = np.float32(2 / (filters * kh * kw)) ** 0.5
        yield module.weight, std * rng.standard_normal(module.weight.value.shape, np.float32)
    elif isinstance(module, Linear | ChannelConv):
        bound = module.weight.value[0].size ** -0.5
        for parameter in filter(None, (module.weight, getattr(module, "bias", None))):
            yield parameter, rng.uniform(-bound, bound, parameter.value.shape).astype(np.float32)


def zero_last_gamma(model: Model) -> Model:
    """γ = 0 in the last norm of each residual branch: every block starts as its shortcut.   [G] §5.1"""
    needs_module(model, "zero_last_gamma")
    for module in model.modules():
        last = getattr(module, "last_norm", None)
        if isinstance(last, BatchNorm2d | GroupNorm) and last.weight is not None:
            last.weight.value = np.zeros_like(last.weight.value)
    return model
