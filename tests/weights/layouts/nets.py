"""A residual network in PyTorch with torchvision's names, and every option in which writers' networks differ."""

import torch
from torch import nn
from torch.nn import functional as F

from .kind import lively


def conv(i, o, k=3, s=1, bias=False, **options):
    return nn.Conv2d(i, o, k, s, **{"padding": k // 2, **options}, bias=bias)


class PadShortcut(nn.Module):
    """Option A: every second pixel, zero channels around or behind."""

    def __init__(self, i, o, s, before):
        super().__init__()
        self.s, self.before, self.after = s, before, o - i - before

    def forward(self, x):
        return F.pad(x[:, :, :: self.s, :: self.s], (0, 0, 0, 0, self.before, self.after))


class Gate(nn.Module):
    """Squeeze and excitation as timm writes it."""

    def __init__(self, c):
        super().__init__()
        inner = max(8, int(c / 16 + 4) // 8 * 8)
        self.fc1, self.fc2 = nn.Conv2d(c, inner, 1), nn.Conv2d(inner, c, 1)

    def forward(self, x):
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


def projection(i, o, s, norm, avg_down=False, bias=False):
    if not avg_down:
        return nn.Sequential(conv(i, o, 1, s, bias), norm(o))
    pool = nn.AvgPool2d(2, s, ceil_mode=True, count_include_pad=False) if s > 1 else nn.Identity()
    return nn.Sequential(pool, conv(i, o, 1, 1, bias), norm(o))


class Block(nn.Module):
    """Basic or bottleneck, as ``o`` (the network's options) says."""

    def __init__(self, i, width, s, leading, dilation, o):
        super().__init__()
        inner, out = int(width * o.base_width / 64) * o.groups, width * (4 if o.bottleneck else 1)
        first, second = (s, 1) if o.stride_on == "1x1" else (1, s)
        spaced = {"padding": dilation, "dilation": dilation}
        if o.bottleneck:
            self.conv1, self.bn1 = conv(i, inner, 1, first, o.bias), o.norm(inner)
            self.conv2, self.bn2 = conv(inner, inner, 3, second, o.bias, groups=o.groups, **spaced), o.norm(inner)
            self.conv3, self.bn3 = conv(inner, out, 1, 1, o.bias), o.norm(out)
        else:
            self.conv1, self.bn1 = conv(i, width, 3, s, o.bias, **spaced), o.norm(width)
            self.conv2, self.bn2 = conv(width, out, 3, 1, o.bias, **spaced), o.norm(out)
        if o.se:
            self.se = Gate(out)
        self.relu, self.inner = o.act(), (o.inner or o.act)()
        project = {"B": s > 1 or i != out, "B-leading": leading or s > 1 or i != out, "C": True}.get(o.shortcut)
        if project:
            self.downsample = projection(i, out, s, o.norm, o.avg_down, o.bias)
        elif project is None and (s > 1 or i != out):
            self.downsample = PadShortcut(i, out, s, (out - i) // 2 if o.shortcut == "A" else 0)

    def forward(self, x):
        y = self.bn2(self.conv2(self.inner(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            y = self.bn3(self.conv3(self.inner(y)))
        y = self.se(y) if hasattr(self, "se") else y
        return self.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Options:
    """What a network's blocks ask about; the defaults are torchvision's."""

    bottleneck, groups, base_width, stride_on, shortcut = False, 1, 64, "3x3", "B"
    bias, se, avg_down = False, False, False
    norm, act, inner = staticmethod(nn.BatchNorm2d), staticmethod(lambda: nn.ReLU(inplace=True)), None

    def __init__(self, **options):
        assert all(hasattr(self, name) for name in options), options
        self.__dict__.update(options)


class Net(nn.Module):
    """torchvision's ResNet; ``stem`` is a kernel's size or "deep", ``pool`` whether it pools, ``strides`` of stages."""

    def __init__(self, depths=(1, 1, 1, 1), width=8, classes=5, channels=3, stem=7, stem_stride=None, stem_bias=False,
                 pool=True, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), **options):
        super().__init__()
        o = Options(**options)
        self.size = 64 if pool else 32
        s = stem_stride or (2 if stem in (7, "deep") else 1)
        self.conv1 = conv(channels, width, stem, s, stem_bias) if stem != "deep" else nn.Sequential(
            conv(channels, width // 2, 3, s), o.norm(width // 2), o.act(), conv(width // 2, width // 2, 3),
            o.norm(width // 2), o.act(), conv(width // 2, width, 3))
        self.bn1, self.relu = o.norm(width), o.act()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        i = width
        for n, depth in enumerate(depths):
            blocks, w = [], width * 2**n
            for j in range(depth):
                blocks.append(Block(i, w, strides[n] if j == 0 else 1, j == 0, dilations[n], o))
                i = w * (4 if o.bottleneck else 1)
            setattr(self, f"layer{n + 1}", nn.Sequential(*blocks))
        self.stages = [f"layer{n + 1}" for n in range(len(depths))]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(i, classes)

    def features(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return self.avgpool(x)

    def forward(self, x):
        return self.fc(torch.flatten(self.features(x), 1))


def resnet(**options) -> Net:
    """A Net with lively weights: by default a ResNet-10 of few channels."""
    return lively(Net(**options))


def cifar(depths=(1, 1, 1), **options) -> Net:
    """A three-stage network with a 3x3 stem and no pooling."""
    return resnet(depths=depths, stem=3, pool=False, strides=(1, 2, 2), dilations=(1, 1, 1), **options)
