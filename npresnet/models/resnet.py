"""Residual networks: chains of blocks x ↦ σ(F(x) + S(x)).

[R1] He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385
[RX] Xie et al. 2016, Aggregated residual transformations, arXiv:1611.05431
[WR] Zagoruyko & Komodakis 2016, Wide residual networks, arXiv:1605.07146
"""

from typing import Any

from ..nn import Chain, GlobalAvgPool2d, Module, Residual, Sequential
from .classifier import Classifier
from .dialects import Dialect

Block = Any  # a class of blocks, called with (dialect, channels, width, stride, leading, dilations)
Dilations = tuple[int, int]  # of a block's first 3×3 convolution, and of those after it in the stage


class BasicBlock(Chain):
    """F: 3×3, 3×3.                                                               [R1] Fig. 5, left"""

    expansion = 1

    def __init__(
        self,
        dialect: Dialect,
        channels: int,
        width: int,
        stride: int = 1,
        leading: bool = False,
        dilations: Dilations = (1, 1),
    ):
        aa = dialect.antialiasing(stride, dilations[0] != dilations[1])
        self.conv1 = dialect.conv(channels, width, 3, 1 if aa else stride, dilation=dilations[0])
        self.bn1 = dialect.norm2d(width)
        self.relu = dialect.act()
        self.branch_relu = dialect.branch_act()
        self.aa = aa
        self.conv2 = dialect.conv(width, width, 3, dilation=dilations[1])
        self.bn2 = dialect.norm2d(width)
        self.se = dialect.gate(width)
        self.downsample = dialect.shortcut_path(channels, width, stride, leading, dilations[1] > 1)

    @property
    def last_norm(self) -> Module:
        return self.bn2

    def layers(self) -> tuple[Module, ...]:
        relu, aa, gate = self.branch_relu or self.relu, *([part] if part else [] for part in (self.aa, self.se))
        branch = Sequential(self.conv1, self.bn1, relu, *aa, self.conv2, self.bn2, *gate)
        return Residual(branch, self.downsample), self.relu  # y = σ(F(x) + S(x))


class Bottleneck(Chain):
    """F: 1×1 reduce, 3×3, 1×1 expand.                                           [R1] Fig. 5, right

    The stride sits on the 3×3, as in torchvision ("v1.5"); [R1] puts it on the first 1×1.
    ResNeXt splits the 3×3 into ``groups`` of ``base_width`` channels ([RX] Fig. 3c, at the first
    stage's width), Wide ResNets widen it ([WR]).
    """

    expansion = 4
    sizes = ("depths", "width", "stem_channels", "groups", "base_width")  # that can be chosen

    def __init__(
        self,
        dialect: Dialect,
        channels: int,
        width: int,
        stride: int = 1,
        leading: bool = False,
        dilations: Dilations = (1, 1),
        groups: int = 1,
        base_width: int = 64,
    ):
        inner, out = inner_width(width, groups, base_width), width * self.expansion
        first, second = (stride, 1) if dialect.stride_on == "1x1" else (1, stride)
        self.aa = dialect.antialiasing(stride, dilations[0] != dilations[1])
        self.conv1 = dialect.conv(channels, inner, 1, first)
        self.bn1 = dialect.norm2d(inner)
        self.conv2 = dialect.conv(inner, inner, 3, 1 if self.aa else second, groups, dilation=dilations[0])
        self.bn2 = dialect.norm2d(inner)
        self.conv3 = dialect.conv(inner, out, 1)
        self.bn3 = dialect.norm2d(out)
        self.se = dialect.gate(out)
        self.relu = dialect.act()
        self.branch_relu = dialect.branch_act()
        self.relu_before_sum = dialect.relu_before_sum
        self.downsample = dialect.shortcut_path(channels, out, stride, leading, dilations[1] > 1)

    @property
    def last_norm(self) -> Module:
        return self.bn3

    def layers(self) -> tuple[Module, ...]:
        relu = self.branch_relu or self.relu
        last = [self.relu] if self.relu_before_sum else []
        aa, gate = ([part] if part else [] for part in (self.aa, self.se))
        first, second = (self.conv1, self.bn1, relu), (self.conv2, self.bn2, relu, *aa)
        branch = Sequential(*first, *second, self.conv3, self.bn3, *last, *gate)
        return Residual(branch, self.downsample), self.relu  # y = σ(F(x) + S(x))


def inner_width(width: int, groups: int, base_width: int) -> int:
    """The channels of a bottleneck's 3×3, ``base_width`` in each group where the stage has 64."""
    if width * base_width < 64:
        raise ValueError(
            f"base_width={base_width} leaves a group without channels where a stage has {width}; it is counted "
            "at 64: give a wider network, or a larger base_width"
        )
    return width * base_width // 64 * groups


class ResNet(Classifier):
    """A stem, stages of ``width``, 2, 4 … times ``width`` channels, a classifier.            [R1] Table 1, §4.2

    ImageNet nets have a stem that divides the image by 4 and four stages, CIFAR nets a 3×3 stem without pooling and
    three stages of n blocks at 16, 32 and 64 channels: 6n + 2 layers.
    """

    unread = frozenset({"bare_bias", "final_norm", "first_block", "stride_in", "stem_norm"})
    stems = ("7x7", "5x5", "3x3", "deep", "tiered", "pool-first")

    def __init__(
        self,
        dialect: Dialect,
        block: Block,
        depths: tuple[int, ...],
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        stem_channels: int | None = None,
        **block_options: Any,
    ):
        self.conv1, channels = dialect.stem_conv(in_channels, stem_channels or width)  # conv1
        self.bn1 = dialect.norm2d(channels)
        self.relu = dialect.act()
        self.maxpool = dialect.stem_pool(channels)
        self.pool_first = dialect.stem == "pool-first"
        channels = add_stages(self, block, dialect, channels, depths, width, **block_options)  # conv2_x … conv5_x
        self.avgpool = GlobalAvgPool2d()
        self.fc = self.head(channels, num_classes)
        self.finish(dialect)

    def features_and_scores(self) -> tuple[Module, ...]:
        pool, normed = self.pool(), (self.bn1, self.relu)
        stem = (self.conv1, *pool, *normed) if self.pool_first else (self.conv1, *normed, *pool)
        return *stem, *self.stages(), self.avgpool, self.fc


def add_stages(
    model: Module,
    block: Block,
    dialect: Dialect,
    channels: int,
    depths: tuple[int, ...],
    width: int,
    first: dict[str, Any] | None = None,
    **block_options: Any,
) -> int:
    """Assign layer1, layer2, …: each stage after the first halves the image and doubles the width.

    Where the image is as small as ``output_stride`` lets it become, a stage doubles the dilation of its 3×3
    convolutions instead, so that they see what they would have seen; its first block's first keeps the one before.

    Returns the channels after the last.  ``first`` holds options of the very first block alone.  Where a dialect
    downsamples in the last block of a stage, the first three stages do.
    """
    before = dilation = 1
    for i, depth in enumerate(depths):
        strided = 0 if i > 0 else None
        if dialect.stride_in == "last":
            strided = depth - 1 if i < len(depths) - 1 else None
        if 4 * 2 ** min(i, 3) > dialect.output_stride:
            strided, dilation = None, 2 * dilation
        blocks = []
        for j in range(depth):
            options = {**block_options, **first} if first and i == j == 0 else block_options
            stride, dilations = 2 if j == strided else 1, (before, dilation)
            blocks.append(block(dialect, channels, width * 2**i, stride, j == 0, dilations, **options))
            channels, before = width * 2**i * block.expansion, dilation
        setattr(model, f"layer{i + 1}", Sequential(*blocks))
    return channels
