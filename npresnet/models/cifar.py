"""The small residual networks for 32×32 images.

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385, §4.2
"""

from ..nn import GlobalAvgPool2d, Linear, Module
from .classifier import Classifier
from .dialects import Dialect
from .resnet import Block, add_stages


class CifarResNet(Classifier):
    """A 3×3 stem, three stages of n blocks at 16, 32 and 64 channels: 6n + 2 layers.     [R1] §4.2

    Without a pooling stem, a 32×32 image reaches the last pooling as 64 features of 8×8.
    """

    unread = frozenset({"stem", "stem_width", "stem_bias", "pool", "bare_bias", "stride_in"})

    def __init__(
        self,
        dialect: Dialect,
        block: Block,
        depths: tuple[int, ...],
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 16,
    ):
        self.conv1 = dialect.conv(in_channels, width, 3)
        self.bn1 = dialect.norm2d(width)
        self.relu = dialect.act()
        add_stages(self, block, dialect, width, depths, width)
        self.avgpool = GlobalAvgPool2d()
        self.fc = Linear(4 * width * block.expansion, num_classes)
        self.finish(dialect)

    def features_and_scores(self) -> tuple[Module, ...]:
        return self.conv1, self.bn1, self.relu, self.layer1, self.layer2, self.layer3, self.avgpool, self.fc
