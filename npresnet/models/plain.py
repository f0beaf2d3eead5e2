"""Plain networks: what a ResNet is without its shortcuts, the control of every experiment in [R1].

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385, §3.3 and §4.2
"""

from ..nn import Chain, Module
from .classifier import RESIDUAL
from .dialects import Dialect
from .resnet import Dilations


class PlainBlock(Chain):
    """y = σ(F(x)) with the F of a basic block, and nothing added.              [R1] Fig. 3, middle"""

    expansion = 1
    unread = RESIDUAL | {"shortcut", "stride_on"}

    def __init__(
        self,
        dialect: Dialect,
        channels: int,
        width: int,
        stride: int = 1,
        leading: bool = False,
        dilations: Dilations = (1, 1),
    ):
        self.conv1 = dialect.conv(channels, width, 3, stride, dilation=dilations[0])
        self.bn1 = dialect.norm2d(width)
        self.relu = dialect.act()
        self.conv2 = dialect.conv(width, width, 3, dilation=dilations[1])
        self.bn2 = dialect.norm2d(width)

    def layers(self) -> tuple[Module, ...]:
        return self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu
