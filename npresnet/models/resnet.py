"""Residual networks: chains of blocks x ↦ σ(F(x) + S(x)).

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385
[RX] Xie et al. 2016, Aggregated residual transformations, arXiv:1611.05431
[WR] Zagoruyko & Komodakis 2016, Wide residual networks, arXiv:1605.07146
"""

from ..nn import (
    Chain,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Subsample,
    ZeroPadChannels,
)


class BasicBlock(Chain):
    """F: 3×3, 3×3.                                                               [R1] Fig. 5, left"""

    expansion = 1

    def __init__(self, dialect, channels, width, stride=1):
        self.conv1 = dialect.conv(channels, width, 3, stride)
        self.bn1 = dialect.norm(width)
        self.relu = ReLU()
        self.conv2 = dialect.conv(width, width, 3)
        self.bn2 = dialect.norm(width)
        self.downsample = shortcut(dialect, channels, width, stride)

    @property
    def last_norm(self):
        return self.bn2

    def layers(self):
        branch = Sequential(self.conv1, self.bn1, self.relu, self.conv2, self.bn2)
        return Residual(branch, self.downsample), self.relu                  # y = σ(F(x) + S(x))


class Bottleneck(Chain):
    """F: 1×1 reduce, 3×3, 1×1 expand.                                           [R1] Fig. 5, right

    The stride sits on the 3×3, as in torchvision ("v1.5"); [R1] puts it on the first 1×1.
    ResNeXt splits the 3×3 into ``groups`` of ``base_width`` channels ([RX] Fig. 3c, at the first
    stage's width), Wide ResNets widen it ([WR]).
    """

    expansion = 4

    def __init__(self, dialect, channels, width, stride=1, groups=1, base_width=64):
        inner, out = width * base_width // 64 * groups, width * self.expansion
        first, second = (stride, 1) if dialect.stride_on == "1x1" else (1, stride)
        self.conv1 = dialect.conv(channels, inner, 1, first)
        self.bn1 = dialect.norm(inner)
        self.conv2 = dialect.conv(inner, inner, 3, second, groups)
        self.bn2 = dialect.norm(inner)
        self.conv3 = dialect.conv(inner, out, 1)
        self.bn3 = dialect.norm(out)
        self.relu = ReLU()
        self.downsample = shortcut(dialect, channels, out, stride)

    @property
    def last_norm(self):
        return self.bn3

    def layers(self):
        branch = Sequential(self.conv1, self.bn1, self.relu,
                            self.conv2, self.bn2, self.relu, self.conv3, self.bn3)
        return Residual(branch, self.downsample), self.relu                  # y = σ(F(x) + S(x))


def shortcut(dialect, channels, out, stride):
    """S: the identity where shapes agree, else option A or B; C projects everywhere.   [R1] §3.3, §4.1"""
    if stride == 1 and channels == out and dialect.shortcut != "C":
        return Identity()
    if dialect.shortcut in ("B", "C"):
        return Sequential(dialect.conv(channels, out, 1, stride), dialect.norm(out))
    before = (out - channels) // 2 if dialect.shortcut == "A" else 0
    return Sequential(Subsample(stride=stride), ZeroPadChannels(before=before, after=out - channels - before))


class ResNet(Chain):
    """A stem, four stages, a classifier.                                              [R1] Table 1"""

    def __init__(self, dialect, block, depths, num_classes=1000, in_channels=3, **block_options):
        self.conv1 = dialect.conv(in_channels, 64, 7, stride=2)                          # conv1
        self.bn1 = dialect.norm(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        add_stages(self, block, dialect, 64, depths, width=64, **block_options)          # conv2_x … conv5_x
        self.avgpool = GlobalAvgPool2d()
        self.fc = Linear(512 * block.expansion, num_classes)

    def layers(self):
        return (self.conv1, self.bn1, self.relu, self.maxpool,
                self.layer1, self.layer2, self.layer3, self.layer4, self.avgpool, self.fc)


def add_stages(model, block, dialect, channels, depths, width, first=None, **block_options):
    """Assign layer1, layer2, …: each stage after the first halves the image and doubles the width.

    ``first`` holds options of the very first block alone.
    """
    for i, depth in enumerate(depths):
        blocks = []
        for j in range(depth):
            options = {**block_options, **first} if first and i == j == 0 else block_options
            blocks.append(block(dialect, channels, width * 2**i, 2 if i > 0 and j == 0 else 1, **options))
            channels = width * 2**i * block.expansion
        setattr(model, f"layer{i + 1}", Sequential(*blocks))
