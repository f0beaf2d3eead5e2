"""Public repositories for CIFAR, each network written anew with the attributes that its repository gives it."""

import torch
import torch.nn.functional as F
from torch import nn

from .kind import Layout, add, kind, lively
from .nets import PadShortcut, cifar, conv, resnet
from .wrappers import prefixed

S, BN = nn.Sequential, nn.BatchNorm2d


def pooled(x):
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Kuangliu(nn.Module):
    """A block: its shortcut is an empty Sequential, or a convolution and a batch norm; ReLUs are functions."""

    def __init__(self, i, width, s, bottleneck=False):
        super().__init__()
        o = width * (4 if bottleneck else 1)
        sizes = (
            [(i, width, 1, 1), (width, width, 3, s), (width, o, 1, 1)] if bottleneck else [(i, o, 3, s), (o, o, 3, 1)]
        )
        for n, size in enumerate(sizes, 1):
            setattr(self, f"conv{n}", conv(*size))
            setattr(self, f"bn{n}", BN(size[1]))
        self.count = len(sizes)
        self.shortcut = S(conv(i, o, 1, s), BN(o)) if s > 1 or i != o else S()

    def forward(self, x):
        y = x
        for n in range(1, self.count + 1):
            y = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(y if n == 1 else F.relu(y)))
        return F.relu(y + self.shortcut(x))


class Stages(nn.Module):
    """conv1, bn1, layer1 …, linear: the form most CIFAR repositories share."""

    size, head, norm = 32, "linear", True

    def __init__(self, block, depths=(1, 1, 1, 1), width=8, expansion=1, head="linear", norm=True):
        super().__init__()
        self.head, self.norm, self.count = head, norm, len(depths)
        self.conv1 = conv(3, width, 3)
        if norm:
            self.bn1 = BN(width)
        i = width
        for n, depth in enumerate(depths):
            blocks, o = [], width * 2**n
            for j in range(depth):
                blocks.append(block(i, o, 2 if n and not j else 1))
                i = o * expansion
            setattr(self, f"layer{n + 1}", S(*blocks))
        setattr(self, head, nn.Linear(i, 5))

    def features(self, x):
        x = self.conv1(x)
        x = F.relu(self.bn1(x)) if self.norm else x
        for n in range(self.count):
            x = getattr(self, f"layer{n + 1}")(x)
        return pooled(x)

    def forward(self, x):
        return getattr(self, self.head)(self.features(x))


KUANGLIU = "kuangliu/pytorch-cifar"
add("kuangliu ResNet, basic", KUANGLIU, lambda: lively(Stages(Kuangliu)))
add("kuangliu ResNet-18's depths", KUANGLIU, lambda: lively(Stages(Kuangliu, (2, 2, 2, 2))))


@kind("kuangliu ResNet, bottleneck", KUANGLIU)
def kuangliu_bottleneck():
    return lively(Stages(lambda *args: Kuangliu(*args, bottleneck=True), expansion=4))


@kind("kuangliu's checkpoint", KUANGLIU)
def kuangliu_checkpoint():
    net = lively(Stages(Kuangliu))
    return Layout(net, {"net": prefixed(net.state_dict(), "module."), "acc": 95.2, "epoch": 199}, "ckpt.pth", size=32)


class OptionA(nn.Module):
    """Two convolutions; a shortcut without arrays."""

    def __init__(self, i, o, s):
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2 = conv(i, o, 3, s), BN(o), conv(o, o), BN(o)
        self.shortcut = PadShortcut(i, o, s, o // 4) if s > 1 else S()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


@kind("akamaster's checkpoint, option A", "akamaster/pytorch_resnet_cifar10")
def akamaster():
    net = lively(Stages(OptionA, (2, 2, 2)))
    tree = {"state_dict": prefixed(net.state_dict(), "module."), "best_prec1": 91.7}
    return Layout(net, tree, "model.th", size=32, note="A-appended")


class Weiaicunzai(nn.Module):
    """residual_function and shortcut, both Sequentials."""

    def __init__(self, i, width, s, bottleneck=False):
        super().__init__()
        o = width * (4 if bottleneck else 1)
        r = lambda: nn.ReLU(inplace=True)  # noqa: E731
        if bottleneck:
            self.residual_function = S(conv(i, width, 1), BN(width), r(), conv(width, width, 3, s), BN(width), r(),
                                       conv(width, o, 1), BN(o))
        else:
            self.residual_function = S(conv(i, o, 3, s), BN(o), r(), conv(o, o), BN(o))
        self.shortcut = S(conv(i, o, 1, s), BN(o)) if s > 1 or i != o else S()

    def forward(self, x):
        return F.relu(self.residual_function(x) + self.shortcut(x))


class WeiaicunzaiNet(nn.Module):
    size = 32

    def __init__(self, width=8, depths=(1, 1, 1, 1), bottleneck=False):
        super().__init__()
        self.conv1 = S(conv(3, width), BN(width), nn.ReLU(inplace=True))
        i = width
        for n, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                blocks.append(Weiaicunzai(i, width * 2**n, 2 if n and not j else 1, bottleneck))
                i = width * 2**n * (4 if bottleneck else 1)
            setattr(self, f"conv{n + 2}_x", S(*blocks))
        self.avg_pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(i, 5)

    def forward(self, x):
        for part in (self.conv1, self.conv2_x, self.conv3_x, self.conv4_x, self.conv5_x, self.avg_pool):
            x = part(x)
        return self.fc(x.flatten(1))


WEI = "weiaicunzai/pytorch-cifar100"
add("weiaicunzai ResNet, basic", WEI, lambda: lively(WeiaicunzaiNet(depths=(2, 1, 1, 1))))
add("weiaicunzai ResNet, bottleneck", WEI, lambda: lively(WeiaicunzaiNet(bottleneck=True)))


@kind("bearpaw's checkpoint, basic", "bearpaw/pytorch-classification")
def bearpaw():
    net = cifar((2, 2, 2))
    tree = {"epoch": 164, "state_dict": prefixed(net.state_dict(), "module."), "acc": torch.tensor(93.0),
            "best_acc": torch.tensor(93.1), "optimizer": {"state": {}, "param_groups": []}}
    return Layout(net, tree, "model_best.pth.tar", size=32)


add("bearpaw, bottleneck", "bearpaw/pytorch-classification", lambda: cifar((1, 1, 1), bottleneck=True))
add("chenyaofo cifar10_resnet20", "chenyaofo/pytorch-cifar-models", lambda: cifar((3, 3, 3), width=4))
add("3x3 stem without pooling", "SimCLR, MoCo on CIFAR", lambda: resnet(stem=3, pool=False))


@kind("3x3 stem, pooling kept", "huyvnphan/PyTorch_CIFAR10")
def huyvnphan():
    net = resnet(stem=3, pool=True)
    common = resnet(stem=3, pool=False)
    common.load_state_dict(net.state_dict())
    return Layout(common, net.state_dict(), size=32, note=r"(?i)pool")


@kind("RepDistiller's ResNet", "HobbitLong/RepDistiller")
def repdistiller():
    net = cifar((1, 1, 1), width=8)
    return Layout(
        net, {"epoch": 240, "model": net.state_dict(), "best_acc": torch.tensor(72.3), "accuracy": 72.3}, size=32
    )
