"""Blocks, stems and heads that differ in one thing from the family's: right, or refused by name."""

import torch
import torch.nn.functional as F
from torch import nn

from .cifar_projects import Kuangliu, Stages
from .imagenet_projects import renamed
from .kind import Layout, add, kind, lively
from .nets import Net, cifar, conv, resnet

BN = nn.BatchNorm2d


class LinearGate(nn.Module):
    """Squeeze and excitation by two linear layers, with or without biases, in a Sequential called fc."""

    def __init__(self, c, bias):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(c, c // 4, bias), nn.ReLU(), nn.Linear(c // 4, c, bias), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def gated(bias):
    net = resnet(se=True)
    for stage in net.stages:
        block = getattr(net, stage)[0]
        block.se = LinearGate(block.bn2.num_features, bias)
    return lively(net)


add("SE of linear layers without biases", "moskomule/senet.pytorch", lambda: gated(False))
add("SE of linear layers", "scripts", lambda: gated(True))


class Eca(nn.Module):
    """Efficient channel attention: a convolution over the channels' means."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        return x * self.conv(x.mean((2, 3))[:, None]).sigmoid()[:, 0, :, None, None]


@kind("ECA in every block", "timm ecaresnet")
def eca():
    net = resnet(se=True)
    for stage in net.stages:
        getattr(net, stage)[0].se = Eca()
    return Layout(lively(net), refusal="(?i)ECA|channel attention")


@kind("instance norm in half of the channels", "XingangPan/IBN-Net")
def ibn():
    state = renamed(resnet().state_dict(), (r"(layer[12]\.0\.bn1)\.", r"\1.BN."))
    state |= {f"layer{n}.0.bn1.IN.{part}": torch.ones(4 * n) for n in (1, 2) for part in ("weight", "bias")}
    return Layout(tree=state, refusal=r"(?i)\bIBN|instance|bn1\.(IN|BN)")


@kind("a batch norm for each domain", "domain-specific batch norm")
def domains():
    state = renamed(resnet().state_dict(), (r"\.bn1\.", ".bn1.bns.0."))
    state |= {k.replace("bns.0", "bns.1"): v.clone() for k, v in state.items() if "bns.0" in k}
    return Layout(tree=state, refusal=r"(?i)bns\.1|two|norms|batch norm")


@kind("bottleneck of expansion 2, stem 1x1", "kuangliu ResNeXt29")
def kuangliu_resnext():
    class Block(nn.Module):
        def __init__(self, i, w, s):
            super().__init__()
            self.conv1, self.bn1 = conv(i, w, 1), BN(w)
            self.conv2, self.bn2 = conv(w, w, 3, s, groups=2), BN(w)
            self.conv3, self.bn3 = conv(w, 2 * w, 1), BN(2 * w)
            self.shortcut = nn.Sequential(conv(i, 2 * w, 1, s), BN(2 * w)) if s > 1 or i != 2 * w else nn.Sequential()

        def forward(self, x):
            y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
            return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))

    net = Stages(Block, (1, 1, 1), expansion=2)
    net.conv1 = conv(3, 8, 1)
    return Layout(lively(net), size=32, refusal=r"(?i)first convolution|stem|expansion")


@kind("ResNeXt with conv_reduce, conv_conv, conv_expand", "prlz77/ResNeXt.pytorch")
def prlz77():
    net = cifar(bottleneck=True, groups=2, base_width=32)
    rules = ((r"^conv1", "conv_1_3x3"), (r"^bn1", "bn_1"), (r"^layer(\d)\.(\d)", r"stage_\1.stage_\1_bottleneck_\2"),
             (r"\.conv1", ".conv_reduce"), (r"\.conv2", ".conv_conv"), (r"\.conv3", ".conv_expand"), (r"\.bn1",
                 ".bn_reduce"),
             (r"\.bn2", ".bn"), (r"\.bn3", ".bn_expand"), (r"downsample\.0", "shortcut.shortcut_conv"),
             (r"downsample\.1", "shortcut.shortcut_bn"), ("^fc", "classifier"))
    return Layout(net, renamed(net.state_dict(), *rules), size=32)


@kind("timm resnetv2: stem.conv, stages.0.blocks.0.norm1, head.fc of 1x1", "timm resnetv2_50")
def resnetv2():
    from .preactivation import PreNet

    class V2(PreNet):
        def forward(self, x):
            x = F.max_pool2d(self.conv1(x), 3, 2, 1)
            for stage in self.stages:
                x = getattr(self, stage)(x)
            return self.fc(F.relu(self.bn(x)).mean((2, 3)))

    net = V2((1, 1, 1, 1), bottleneck=True, expansion=4, name="downsample")
    net.conv1, net.size = conv(3, 8, 7, 2), 64
    lively(net)
    rules = ((r"^conv1", "stem.conv"), (r"^layer(\d)", lambda m: f"stages.{int(m[1]) - 1}.blocks"), (r"\bbn(\d)",
        r"norm\1"),
             (r"downsample\.0", "downsample.conv"), (r"^bn\.", "norm."), (r"^fc", "head.fc"))
    state = {k: v[:, :, None, None] if k == "head.fc.weight" else v for k, v in renamed(net.state_dict(),
        *rules).items()}
    return Layout(net, state)


@kind("BiT under timm's names: group norms, standardised weights", "timm resnetv2_50x1_bit")
def timm_bit():
    net = resnet(bottleneck=True, norm=lambda c: nn.GroupNorm(4, c))
    rules = ((r"^conv1", "stem.conv"), (r"^bn1", "norm"), (r"^layer(\d)\.(\d)",
        lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}"),
             (r"\bbn(\d)", r"norm\1"), (r"downsample\.0", "downsample.conv"), (r"^fc", "head.fc"))
    state = {k: v for k, v in renamed(net.state_dict(), *rules).items() if "downsample.1" not in k}
    return Layout(tree=state, refusal=r"(?i)group|BiT|standardi[sz]ed|norm")


@kind("quantized by torchvision: scales and packed parameters", "torchvision.models.quantization")
def packed():
    state = {k: v for k, v in resnet(bias=True,
        stem_bias=True).state_dict().items() if "bn" not in k and k[:3] != "fc."}
    state |= {f"{k.removesuffix('.weight')}.{part}": torch.tensor(1) for k in list(state) if k.endswith("weight")
              for part in ("scale", "zero_point")}
    state |= {"fc._packed_params._packed_params": torch.quantize_per_tensor(torch.randn(5, 64), 0.1, 0, torch.qint8)}
    return Layout(tree=state, refusal="quanti[sz]ed")


@kind("a stem whose Sequential begins with a padding", "scripts: conv1.1, conv1.4 without a norm")
def odd_stem():
    net = Net()
    net.conv1 = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, 2), BN(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
                              nn.Conv2d(4, 8, 3, padding=1))
    return Layout(lively(net), refusal=r"stem, from 'conv1.1' on, is none of the family's: 3 convolutions")


@kind("a 1x1 convolution from 1 channel to 3 before the network", "medical images")
def channel_adapter():
    state = {**{f"net.{k}": v for k, v in resnet().state_dict().items()}, "to_rgb.weight": torch.randn(3, 1, 1, 1),
             "to_rgb.bias": torch.randn(3)}
    return Layout(tree=state, refusal=r"(?i)to_rgb|stem|before")


@kind("a patchifying stem, 4x4 of stride 4", "scripts")
def patchify():
    net = resnet(stem=4, stem_stride=4, pool=False)
    net.conv1.padding = (0, 0)
    return Layout(net, refusal=r"(?i)first convolution|stem")


def with_head(head):
    net = Net()
    net.fc = head
    return lively(net)


HEADS = {
    "BatchNorm1d, then Linear": lambda: nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 5)),
    "Linear, then BatchNorm1d": lambda: nn.Sequential(nn.Linear(64, 5), nn.BatchNorm1d(5)),
    "LayerNorm, then Linear": lambda: nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 5)),
}
for _name, _head in HEADS.items():
    add(f"head of {_name}", "fine-tuning scripts",
        lambda head=_head: Layout(with_head(head()), refusal=r"(?i)head|fc\."))


@kind("BNNeck between features and classifier", "michuanhao/reid-strong-baseline")
def bnneck():
    net = Net(classes=5)
    net.bottleneck = nn.BatchNorm1d(64)
    net.fc = nn.Linear(64, 5, bias=False)
    lively(net)
    net.forward = lambda x: net.fc(net.bottleneck(net.features(x).flatten(1)))
    rules = ((r"^(conv1|bn1|layer)", r"base.\1"), ("^fc", "classifier"))
    return Layout(net, renamed(net.state_dict(), *rules), refusal=r"(?i)bottleneck|head|neck")


@kind("first stage of stride 2 under a basic block", "small images: strides 2, 2, 2, 2")
def first_stride():
    net, common = resnet(strides=(2, 2, 2, 2), depths=(2, 1, 1, 1)), resnet(shortcut="B-leading", depths=(2, 1, 1, 1))
    common.load_state_dict(net.state_dict())
    return Layout(common, net.state_dict(), note=r"(?i)stride|B-leading|leading")


@kind("first stage of stride 2, whole module", "small images: strides 2, 2, 2, 2")
def first_stride_module():
    net = resnet(strides=(2, 2, 2, 2), depths=(2, 1, 1, 1))
    return Layout(net, net, refusal=r"(?i)stride")


@kind("ResNet-152's depths under names by hand", "networks by hand", slow=True)
def deep():
    net = lively(Net(depths=(3, 8, 36, 3), bottleneck=True, width=4), gain=0.3)
    return Layout(net, renamed(net.state_dict(), ("layer", "stage_"), ("downsample", "shortcut"), ("fc", "head")),
        size=32, note="1x1")


@kind("kuangliu's SE network: pre-activation gates", "kuangliu/pytorch-cifar SENet18")
def kuangliu_se():
    net = Stages(Kuangliu)
    for n in range(1, 5):
        block, w = getattr(net, f"layer{n}")[0], 8 * 2 ** (n - 1)
        block.fc1, block.fc2 = nn.Conv2d(w, w // 4, 1), nn.Conv2d(w // 4, w, 1)
        block.forward = gate_forward(block)
    return Layout(lively(net), size=32, refusal=r"(?i)fc1|squeeze|SE\b")


def gate_forward(b):
    def forward(x):
        y = b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x)))))
        y = y * b.fc2(F.relu(b.fc1(y.mean((2, 3), keepdim=True)))).sigmoid()
        return F.relu(y + b.shortcut(x))

    return forward
