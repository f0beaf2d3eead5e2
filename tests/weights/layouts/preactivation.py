"""Pre-activation and wide networks as repositories write them; some read the shortcut from x, which leaves no trace."""

import torch.nn.functional as F
from torch import nn

from .cifar_projects import pooled
from .kind import Layout, add, kind, lively
from .nets import conv

S, BN = nn.Sequential, nn.BatchNorm2d


class PreBlock(nn.Module):
    """bn1, conv1, bn2, conv2 (bn3, conv3); ``name`` is the shortcut's, ``reads`` what it reads: σ(BN(x)) or x.

    "shared": an identity reads σ(BN(x)) too, as in the paper's first block.
    """

    def __init__(self, i, width, s, name="shortcut", reads="activated", bias=False, bottleneck=False, bare=False):
        super().__init__()
        o = width * (4 if bottleneck else 1)
        sizes = (
            [(i, width, 1, 1), (width, width, 3, s), (width, o, 1, 1)] if bottleneck else [(i, o, 3, s), (o, o, 3, 1)]
        )
        for n, size in enumerate(sizes, 1):
            setattr(self, f"bn{n}", BN(size[0]))
            setattr(self, f"conv{n}", conv(*size, bias=bias))
        self.count, self.name, self.reads = len(sizes), name, reads
        if s > 1 or i != o:
            projection = conv(i, o, 1, s, bias)
            setattr(self, name, projection if bare else S(projection))

    def forward(self, x):
        y = F.relu(self.bn1(x))
        read = x if self.reads == "x" else y
        short = getattr(self, self.name)(read) if hasattr(self, self.name) else y if self.reads == "shared" else x
        for n in range(1, self.count + 1):
            y = getattr(self, f"conv{n}")(y if n == 1 else F.relu(getattr(self, f"bn{n}")(y)))
        return y + short


class PreNet(nn.Module):
    """conv1, stages, and (not in every repository) a last batch norm called ``norm``; then a linear layer."""

    size = 32

    def __init__(self, depths=(1, 1, 1), width=8, norm="bn", head="fc", stages="layer{}", stem=None, expansion=1,
                 stem_bias=False, strides=(1, 2, 2, 2), **options):
        super().__init__()
        i = stem or width
        self.conv1, self.norm, self.head = conv(3, i, bias=stem_bias), norm, head
        self.stages = [stages.format(n + 1) for n in range(len(depths))]
        for n, (stage, depth) in enumerate(zip(self.stages, depths)):
            blocks = []
            for j in range(depth):
                blocks.append(PreBlock(i, width * 2**n, strides[n] if j == 0 else 1, **options))
                i = width * 2**n * expansion
            setattr(self, stage, S(*blocks))
        if norm:
            setattr(self, norm, BN(i))
        setattr(self, head, nn.Linear(i, 5))

    def forward(self, x):
        x = self.conv1(x)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        x = F.relu(getattr(self, self.norm)(x)) if self.norm else x
        return getattr(self, self.head)(pooled(x))


NO_LAST_NORM = r"(?i)pre-activation|last batch norm|no batch norm"


@kind("kuangliu PreActResNet: no last batch norm", "kuangliu/pytorch-cifar")
def kuangliu_preact():
    return Layout(lively(PreNet((1, 1, 1, 1), norm=None, head="linear")), size=32, refusal=NO_LAST_NORM)


@kind("kuangliu PreActResNet, bottleneck", "kuangliu/pytorch-cifar")
def kuangliu_preact_bottleneck():
    net = PreNet((1, 1, 1, 1), norm=None, head="linear", bottleneck=True, expansion=4)
    return Layout(lively(net), size=32, refusal=NO_LAST_NORM)


class Wide(nn.Module):
    """One group of a Wide ResNet: its blocks under ``layer``."""

    def __init__(self, blocks):
        super().__init__()
        self.layer = blocks

    def forward(self, x):
        return self.layer(x)


@kind("xternalz Wide ResNet", "xternalz/WideResNet-pytorch")
def xternalz():
    net = PreNet((2, 1, 1), width=16, stem=8, norm="bn1", stages="block{}", name="convShortcut", bare=True)
    for stage in net.stages:
        setattr(net, stage, Wide(getattr(net, stage)))
    return Layout(lively(net), size=32)


@kind("meliketoy Wide ResNet: biases, the shortcut reads x", "meliketoy/wide-resnet.pytorch")
def meliketoy():
    net = PreNet((1, 1, 1), 16, norm="bn1", head="linear", stem=8, bias=True, stem_bias=True, reads="x")
    return Layout(lively(net), size=32, doubt="projection reads x", refusal=r"(?i)shortcut|projection|bias")


def raw_or_noted(**options):
    """The shortcut reads x, which no array tells: the commonest reading, with a note."""
    net, common = lively(PreNet(reads="x", **options)), PreNet(**options).eval()
    common.layer1[0].reads = "shared"
    common.load_state_dict(net.state_dict())
    return Layout(
        common, net.state_dict(), size=32, note=r"(?i)projection reads x", refusal=r"(?i)shortcut|projection"
    )


add("bearpaw PreResNet: the shortcut reads x", "bearpaw/pytorch-classification",
    lambda: raw_or_noted(name="downsample", depths=(2, 2, 2)))
add("PreResNet, bottleneck, the shortcut reads x", "Eric-mingjie/rethinking-network-pruning",
    lambda: raw_or_noted(name="downsample", bottleneck=True, expansion=4, depths=(2, 1, 1)))
add("PreResNet, the shortcut reads the activated x", "hysts/pytorch_resnet_preact",
    lambda: lively(PreNet((2, 2, 2), name="shortcut", bottleneck=True, expansion=4, bare=True)))


class Seq(nn.Module):
    """weiaicunzai's pre-activation block: everything in ``residual``, biased, the shortcut a bare convolution of x."""

    def __init__(self, i, o, s):
        super().__init__()
        self.residual = S(BN(i), nn.ReLU(), conv(i, o, 3, s, True), BN(o), nn.ReLU(), conv(o, o, bias=True))
        self.shortcut = conv(i, o, 1, s, True) if s > 1 or i != o else S()

    def forward(self, x):
        return self.residual(x) + self.shortcut(x)


@kind("weiaicunzai PreActResNet", "weiaicunzai/pytorch-cifar100")
def weiaicunzai_preact():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pre = S(conv(3, 8), BN(8), nn.ReLU())
            for n, (i, o, s) in enumerate(((8, 8, 1), (8, 16, 2), (16, 32, 2), (32, 64, 2)), 1):
                setattr(self, f"stage{n}", S(Seq(i, o, s)))
            self.linear = nn.Linear(64, 5)

        def forward(self, x):
            for part in (self.pre, self.stage1, self.stage2, self.stage3, self.stage4):
                x = part(x)
            return self.linear(pooled(x))

    return Layout(lively(Net()), size=32, doubt="projection reads x", refusal=r"(?i)pre-activation|shortcut|projection")
