"""Two blocks that do not work, from the second tutorial: what to look for when a ResNet does not learn.

:class:`WrongBlock` is the block that the tutorial warns of.  :class:`UntrackedNormBlock` has the fault of the
tutorial's own code: a batch norm made inside ``call()`` is a new one at every call.
"""

from ..backend import Array, Pullback
from ..nn import BatchNorm2d, Chain, Conv2d, Identity, Module, ReLU, Residual, Sequential


class WrongBlock(Chain):
    """y = σ(conv(conv(x)) + x), as the tutorial first writes it, with three mistakes:

    1. It never downsamples, so that all four stages work on images of full size and the network costs far more.
    2. Its number of filters is always 64, so that no stage can be wider than the first.
    3. Nothing stands between its convolutions: without a batch norm and a ReLU two linear maps are one linear map,
       and F(a x + b z) = a F(x) + b F(z) up to the biases.
    """

    def __init__(self):
        self.conv1 = Conv2d(64, 64, 3, padding="same", bias=True)
        self.conv2 = Conv2d(64, 64, 3, padding="same", bias=True)
        self.relu = ReLU()

    def layers(self):
        return Residual(Sequential(self.conv1, self.conv2), Identity()), self.relu


class UntrackedNorm(Module):
    """A batch norm made anew at every call.

    It is never stored: its γ and β are in no state dict and never trained, and its running statistics are 0 and 1 at
    every prediction.  In training it normalizes, in prediction y = x/√(1 + ε): the network that was trained is not the
    one that predicts.
    """

    def __init__(self, channels: int, eps: float = 1e-3):
        self.channels, self.eps = channels, eps

    def vjp(self, x: Array, input_grad: bool = True) -> tuple[Array, Pullback]:
        fresh = BatchNorm2d(self.channels, self.eps, momentum=0.01).train(self.training)
        return fresh.astype(x.dtype).vjp(x, input_grad)


class UntrackedNormBlock(Chain):
    """A basic block whose batch norms are made inside the call, as in the second tutorial's bottleneck."""

    def __init__(self, channels: int):
        self.conv1 = Conv2d(channels, channels, 3, padding="same", bias=True)
        self.norm1 = UntrackedNorm(channels)
        self.conv2 = Conv2d(channels, channels, 3, padding="same", bias=True)
        self.norm2 = UntrackedNorm(channels)
        self.relu = ReLU()

    def layers(self):
        branch = Sequential(self.conv1, self.norm1, self.relu, self.conv2, self.norm2)
        return Residual(branch, Identity()), self.relu
