"""Pre-activation residual networks: blocks x ↦ S(x) + F(x) with no ReLU after the sum.

Batch norm and ReLU move in front of each convolution, so that the path from block to block is a
bare sum: x_L = x_l + Σ F(x_i), [R2] Eq. 4, and the gradient travels it unscaled, [R2] Eq. 5.

[R2] He et al. 2016, Identity mappings in deep residual networks, arXiv:1603.05027
"""

from ..nn import Chain, GlobalAvgPool2d, Identity, Module, Residual, Sequential, Subsample
from .classifier import RESIDUAL, Classifier
from .dialects import Dialect
from .resnet import Block, Dilations, add_stages


class PreActivation(Chain):
    """What the two kinds of block share.  ``head`` says what reads σ(BN(x)):

        "branch"   F only: y = x + F(σ(BN(x))), the block of [R2] Fig. 4e
        "shared"   F and the shortcut, before they split: where a bare 1×1 convolution changes the
                   channels, and in a net's first block ([R2] appendix; other code has it as the others,
                   or lets the projection read x: projection_of="x")
        "none"     nothing, for the stem before has ended in batch norm and ReLU

    A stride where the channels stay, as in Keras, leaves pixels of x out.
    """

    def __init__(self, dialect: Dialect, channels: int, out: int, stride: int, head: str | None):
        projects = channels != out
        raw = projects and dialect.projection_of == "x"
        head = "branch" if raw and head == "shared" else head
        self.head = head or ("shared" if projects and not raw else "branch")
        if self.head != "none":
            self.bn1 = dialect.norm2d(channels)
        self.relu = dialect.act()
        if projects:
            self.downsample = dialect.conv(channels, out, 1, stride, bias=dialect.bare_bias)
        else:
            self.downsample = Subsample(stride=stride) if stride > 1 else Identity()

    def branch(self) -> tuple[Module, ...]:
        """F, after the σ(BN(x)) of the head."""
        raise NotImplementedError

    def layers(self) -> tuple[Module, ...]:
        if self.head == "branch":
            return (Residual(Sequential(self.bn1, self.relu, *self.branch()), self.downsample),)
        head = (self.bn1, self.relu) if self.head == "shared" else ()
        return *head, Residual(Sequential(*self.branch()), self.downsample)


class PreActBasicBlock(PreActivation):
    """F: BN, ReLU, 3×3, BN, ReLU, 3×3.                                              [R2] Fig. 4e"""

    expansion = 1

    def __init__(
        self,
        dialect: Dialect,
        channels: int,
        width: int,
        stride: int = 1,
        leading: bool = False,
        dilations: Dilations = (1, 1),
        head: str | None = None,
    ):
        super().__init__(dialect, channels, width, stride, head)
        self.conv1 = dialect.conv(channels, width, 3, stride, dilation=dilations[0])
        self.bn2 = dialect.norm2d(width)
        self.conv2 = dialect.conv(width, width, 3, bias=dialect.bare_bias, dilation=dilations[1])

    def branch(self) -> tuple[Module, ...]:
        return self.conv1, self.bn2, self.relu, self.conv2


class PreActBottleneck(PreActivation):
    """F: BN, ReLU, 1×1, BN, ReLU, 3×3, BN, ReLU, 1×1.  The stride sits on the 3×3."""

    expansion = 4

    def __init__(
        self,
        dialect: Dialect,
        channels: int,
        width: int,
        stride: int = 1,
        leading: bool = False,
        dilations: Dilations = (1, 1),
        head: str | None = None,
    ):
        super().__init__(dialect, channels, width * 4, stride, head)
        first, second = (stride, 1) if dialect.stride_on == "1x1" else (1, stride)
        self.conv1 = dialect.conv(channels, width, 1, first)
        self.bn2 = dialect.norm2d(width)
        self.conv2 = dialect.conv(width, width, 3, second, dilation=dilations[0])
        self.bn3 = dialect.norm2d(width)
        self.conv3 = dialect.conv(width, width * 4, 1, bias=dialect.bare_bias)

    def branch(self) -> tuple[Module, ...]:
        return self.conv1, self.bn2, self.relu, self.conv2, self.bn3, self.relu, self.conv3


class PreActResNet(Classifier):
    """A convolution, pre-activation stages, a last batch norm and ReLU unless the dialect has none, a classifier.

    CIFAR nets ([R2] §3.1) have a bare 3×3 stem and three stages of 16, 32, 64 channels.  ImageNet nets have ResNet's
    stem and four stages, the stem's batch norm and ReLU before its pooling, or neither ("bare", Keras's V2 nets), and
    then the first block has its own.
    """

    stems = ("7x7", "5x5", "3x3", "bare")
    before = True
    unread = RESIDUAL | {"shortcut", "stem_width"}

    def __init__(
        self,
        dialect: Dialect,
        block: Block,
        depths: tuple[int, ...],
        num_classes: int,
        in_channels: int = 3,
        width: int = 64,
        stem_channels: int | None = None,
    ):
        self.normed = dialect.normed_stem
        self.conv1, channels = dialect.stem_conv(in_channels, stem_channels or width)
        if self.normed:
            self.bn1 = dialect.norm2d(channels)
        self.maxpool = dialect.stem_pool(channels)
        self.relu = dialect.act()
        first = {"head": "none" if self.normed else "shared"} if dialect.first_block == "paper" else None
        channels = add_stages(self, block, dialect, channels, depths, width, first=first)
        if dialect.final_norm:
            self.bn = dialect.norm2d(channels)
        self.avgpool = GlobalAvgPool2d()
        self.fc = self.head(channels, num_classes)
        self.finish(dialect)

    def features_and_scores(self) -> tuple[Module, ...]:
        stem = (self.conv1, self.bn1, self.relu) if self.normed else (self.conv1,)
        end = (self.bn, self.relu) if hasattr(self, "bn") else ()
        return *stem, *self.pool(), *self.stages(), *end, self.avgpool, self.fc
