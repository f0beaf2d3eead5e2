"""Neighbouring layers that run as one op: the rules by which :class:`.compose.Chain` finds them.

In training a batch norm, the ReLU behind it and the convolution behind that pass over the images once instead of three
times, where a kernel for the backend is registered; the values and gradients are those of the single layers.
"""

from .. import ops
from .compose import Chain, Residual, Sequential
from .layers import BatchNorm2d, Conv2d, ReLU
from .module import Module


class NormReLU(Module):
    """A batch norm in training and the ReLU behind it, in one op."""

    def __init__(self, norm):
        self.norm = norm

    def vjp(self, x, input_grad=True):
        return self.norm.by_batch(ops.batch_norm_relu, x, input_grad=input_grad)


class NormReLUConv(Module):
    """A batch norm in training, the ReLU and the convolution behind it, in one op."""

    def __init__(self, norm, conv):
        self.norm, self.conv = norm, conv

    def vjp(self, x, input_grad=True):
        return self.norm.by_batch(ops.batch_norm_relu_conv2d, x, input_grad=input_grad, **self.conv.window(x),
                                  after={"w": self.conv.weight, "b": self.conv.bias})


class ResidualReLU(Residual):
    """y = σ(F(x) + S(x)), F ending in a batch norm in training: its end, the sum and the ReLU in one op."""

    def __init__(self, residual):
        *before, self.norm = residual.branch.layers()
        super().__init__(Sequential(*before), residual.shortcut)

    def join(self, f, s):
        return self.norm.by_batch(ops.batch_norm_add_relu, f, s)


def fused(layers, x):
    """The same function of x, in fewer parts where kernels run neighbours in fewer passes, or keep less of x."""
    if not ops.batch_norm_relu.has_faster(x):
        return layers
    parts = []
    for layer in layers:
        before = parts[-1] if parts else None
        if type(layer) is ReLU and uses_batch(before):
            parts[-1] = NormReLU(before)
        elif type(layer) is ReLU and type(before) is Residual and uses_batch(last_of(before.branch)):
            parts[-1] = ResidualReLU(before)
        elif type(layer) is Conv2d and type(before) is NormReLU and ops.batch_norm_relu_conv2d.has_faster(x):
            parts[-1] = NormReLUConv(before.norm, layer)
        else:
            parts.append(layer)
    return parts


def last_of(branch):
    return branch.layers()[-1] if isinstance(branch, Chain) else None


def uses_batch(layer) -> bool:
    return type(layer) is BatchNorm2d and layer.batchwise


Chain.fused = staticmethod(fused)
