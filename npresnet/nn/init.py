"""Initial values.  Building a model allocates zeros; :func:`initialize` draws.

[H] He et al. 2015, Delving deep into rectifiers, arXiv:1502.01852
[G] Goyal et al. 2017, Accurate, large minibatch SGD, arXiv:1706.02677
"""

import numpy as np

from .layers import BatchNorm2d, ChannelConv, Conv2d, GroupNorm, Linear
from .module import Model, needs_module


def initialize(model: Model, seed: int = 0) -> Model:
    """Draw fresh weights, in place, as torchvision does.

        convolutions   w ~ N(0, 2/fan_out)            [H] §2.2, Eq. 14
        norms          γ = 1, β = 0
        classifier     w, b ~ U(±1/√fan_in), and so a convolution along the channels

    fan_out is filters · kh · kw: what each input value is read by.  The variance is that for a ReLU, whichever
    activation follows, as in torchvision.  The same seed gives the same weights on every machine.
    """
    needs_module(model, "initialize")
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, Conv2d):
            filters, channels, kh, kw = module.weight.value.shape
            std = np.float32(2 / (filters * kh * kw)) ** 0.5
            module.weight.value = std * rng.standard_normal((filters, channels, kh, kw), np.float32)
        elif isinstance(module, Linear):
            bound = module.weight.value.shape[1] ** -0.5
            for part in filter(None, (module.weight, module.bias)):
                part.value = rng.uniform(-bound, bound, part.value.shape).astype(np.float32)
        elif isinstance(module, ChannelConv):
            bound = module.weight.value.size**-0.5
            module.weight.value = rng.uniform(-bound, bound, module.weight.value.shape).astype(np.float32)
    return model


def zero_last_gamma(model: Model) -> Model:
    """γ = 0 in the last norm of each residual branch: every block starts as its shortcut.   [G] §5.1"""
    needs_module(model, "zero_last_gamma")
    for module in model.modules():
        last = getattr(module, "last_norm", None)
        if isinstance(last, BatchNorm2d | GroupNorm) and last.weight is not None:
            last.weight.value = np.zeros_like(last.weight.value)
    return model
