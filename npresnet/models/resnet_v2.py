"""Pre-activation residual networks: blocks x ↦ S(x) + F(x) whose sum nothing bends.

Batch norm and ReLU move in front of each convolution, so that the path from block to block is a
bare sum: x_L = x_l + Σ F(x_i), [R2] Eq. 4, and the gradient travels it unscaled, [R2] Eq. 5.

[R2] He et al. 2016, Identity mappings in deep residual networks, arXiv:1603.05027
"""

from ..nn import Chain, Conv2d, GlobalAvgPool2d, Identity, Linear, MaxPool2d, ReLU, Residual, Sequential
from .resnet import add_stages


class PreActivation(Chain):
    """What the two kinds of block share.  ``head`` says who reads σ(BN(x)):

        "branch"   F only: y = x + F(σ(BN(x))), the block of [R2] Fig. 4e
        "shared"   F and the shortcut, before they split: where a bare 1×1 convolution changes the
                   shape, and in a net's first block ([R2] appendix)
        "none"     nobody: the stem before has ended in batch norm and ReLU
    """

    def __init__(self, dialect, channels, out, stride, head):
        changes = stride != 1 or channels != out
        self.head = head or ("shared" if changes else "branch")
        if self.head != "none":
            self.bn1 = dialect.norm(channels)
        self.relu = ReLU()
        self.downsample = Conv2d(channels, out, 1, stride) if changes else Identity()

    def layers(self):
        if self.head == "branch":
            return (Residual(Sequential(self.bn1, self.relu, *self.branch()), self.downsample),)
        head = (self.bn1, self.relu) if self.head == "shared" else ()
        return *head, Residual(Sequential(*self.branch()), self.downsample)


class PreActBasicBlock(PreActivation):
    """F: BN, ReLU, 3×3, BN, ReLU, 3×3.                                              [R2] Fig. 4e"""

    expansion = 1

    def __init__(self, dialect, channels, width, stride=1, head=None):
        super().__init__(dialect, channels, width, stride, head)
        self.conv1 = dialect.conv(channels, width, 3, stride)
        self.bn2 = dialect.norm(width)
        self.conv2 = dialect.conv(width, width, 3)

    def branch(self):
        return self.conv1, self.bn2, self.relu, self.conv2


class PreActBottleneck(PreActivation):
    """F: BN, ReLU, 1×1, BN, ReLU, 3×3, BN, ReLU, 1×1.  The stride sits on the 3×3."""

    expansion = 4

    def __init__(self, dialect, channels, width, stride=1, head=None):
        super().__init__(dialect, channels, width * 4, stride, head)
        first, second = (stride, 1) if dialect.stride_on == "1x1" else (1, stride)
        self.conv1 = dialect.conv(channels, width, 1, first)
        self.bn2 = dialect.norm(width)
        self.conv2 = dialect.conv(width, width, 3, second)
        self.bn3 = dialect.norm(width)
        self.conv3 = dialect.conv(width, width * 4, 1)

    def branch(self):
        return self.conv1, self.bn2, self.relu, self.conv2, self.bn3, self.relu, self.conv3


class PreActResNet(Chain):
    """A bare convolution, pre-activation stages, a last batch norm and ReLU, a classifier.

    CIFAR nets ([R2] §3.1) have a 3×3 stem and three stages of 16, 32, 64 channels.  ImageNet nets
    have ResNet's stem and four stages, the stem's batch norm and ReLU before its pooling.
    """

    def __init__(self, dialect, block, depths, num_classes, in_channels=3, imagenet=False):
        width = 64 if imagenet else 16
        self.imagenet = imagenet
        self.conv1 = dialect.conv(in_channels, width, 7 if imagenet else 3, stride=2 if imagenet else 1)
        if imagenet:
            self.bn1 = dialect.norm(width)
            self.maxpool = MaxPool2d(3, stride=2, padding=1)
        self.relu = ReLU()
        add_stages(self, block, dialect, width, depths, width, first={"head": "none" if imagenet else "shared"})
        channels = width * 2 ** (len(depths) - 1) * block.expansion
        self.bn = dialect.norm(channels)
        self.avgpool = GlobalAvgPool2d()
        self.fc = Linear(channels, num_classes)

    def layers(self):
        stem = (self.conv1, self.bn1, self.relu, self.maxpool) if self.imagenet else (self.conv1,)
        stages = (self.layer1, self.layer2, self.layer3) + ((self.layer4,) if self.imagenet else ())
        return *stem, *stages, self.bn, self.relu, self.avgpool, self.fc
