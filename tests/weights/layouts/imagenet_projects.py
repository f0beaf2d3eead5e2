"""Libraries for ImageNet-sized images, each network under the names that its library gives."""

import re

import torch
from torch import nn

from .kind import Layout, add, kind, lively
from .nets import resnet
from .wrappers import prefixed


def renamed(state, *rules):
    """The state under other names: regular expressions and what stands for them, one after the other."""
    out = {}
    for key, value in state.items():
        for old, new in rules:
            key = re.sub(old, new, key)
        out[key] = value
    return out


def trunk(state):
    return {key: value for key, value in state.items() if not key.startswith("fc.")}


# pytorchcv: a convolution and its norm are one ConvBlock
PYTORCHCV = (
    (r"^conv1\.", "features.init_block.conv.conv."),
    (r"^bn1\.", "features.init_block.conv.bn."),
    (r"^layer(\d)\.(\d)\.", lambda m: f"features.stage{m[1]}.unit{int(m[2]) + 1}."),
    (r"(unit\d)\.conv(\d)\.", r"\1.body.conv\2.conv."),
    (r"(unit\d)\.bn(\d)\.", r"\1.body.conv\2.bn."),
    (r"downsample\.0\.", "identity_conv.conv."),
    (r"downsample\.1\.", "identity_conv.bn."),
    (r"^fc\.", "output."),
)
# detectron2 and maskrcnn-benchmark: norms inside their convolutions; frozen, so without counters
DETECTRON = (
    (r"^(conv1|bn1)\.", r"stem.\1."),
    (r"^layer(\d)\.", lambda m: f"res{int(m[1]) + 1}."),
    (r"bn(\d)\.", r"conv\1.norm."),
    (r"downsample\.0\.", "shortcut."),
    (r"downsample\.1\.", "shortcut.norm."),
    (r"^fc\.", "linear."),
)


def without_counters(state):
    return {key: value for key, value in state.items() if value.ndim}


@kind("pytorchcv, basic", "osmr/imgclsmob")
def pytorchcv():
    net = resnet()
    return Layout(net, renamed(net.state_dict(), *PYTORCHCV))


@kind("pytorchcv, bottleneck", "osmr/imgclsmob")
def pytorchcv_bottleneck():
    net = resnet(bottleneck=True)
    return Layout(net, renamed(net.state_dict(), *PYTORCHCV), note="1x1")


@kind("Cadene's SE-ResNet: layer0, se_module, pooling that rounds up", "Cadene/pretrained-models.pytorch")
def cadene_se():
    net = resnet(bottleneck=True, se=True, stride_on="1x1")
    net.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return Layout(net, renamed(net.state_dict(), *CADENE), note="pool='ceil', stride_on='1x1'")


CADENE = ((r"^(conv1|bn1)", r"layer0.\1"), (r"\.se\.", ".se_module."), (r"^fc", "last_linear"))


@kind("Cadene's SE-ResNeXt: its stride on the 3x3", "Cadene/pretrained-models.pytorch")
def cadene_se_next():
    net = resnet(bottleneck=True, se=True, groups=4, base_width=32)
    net.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return Layout(net, renamed(net.state_dict(), *CADENE), note="pool='ceil'$")


@kind("OpenMMLab classifier", "mmpretrain: backbone, head.fc, meta")
def mmpretrain():
    net = resnet(bottleneck=True)
    state = {
        **prefixed(trunk(net.state_dict()), "backbone."),
        "head.fc.weight": net.fc.weight,
        "head.fc.bias": net.fc.bias,
    }
    return Layout(net, {"meta": {"epoch": 100, "CLASSES": ["a"] * 5, "mmcls_version": "0.25"}, "state_dict": state})


@kind("OpenMMLab ResNetV1d", "mmpretrain: backbone.stem")
def mm_v1d():
    net = resnet(bottleneck=True, stem="deep", avg_down=True)
    rules = ((r"^conv1\.", "stem."), (r"^bn1\.", "stem.7."), (r"^stem\.6", "stem.6"), (r"^fc", "head.fc"))
    state = renamed(net.state_dict(), *rules)
    return Layout(net, {"state_dict": {k if "head" in k else f"backbone.{k}": v for k, v in state.items()}})


@kind("OpenMMLab detector: FPN and heads beside the trunk", "mmdetection")
def mmdet():
    net = resnet(bottleneck=True)
    other = {"neck.lateral_convs.0.conv.weight": torch.randn(16, 32, 1, 1),
             "neck.lateral_convs.0.conv.bias": torch.randn(16),
             "rpn_head.rpn_conv.weight": torch.randn(16, 16, 3, 3),
             "roi_head.bbox_head.fc_cls.weight": torch.randn(4, 16),
             "roi_head.bbox_head.fc_cls.bias": torch.randn(4)}
    tree = {"meta": {}, "state_dict": {**prefixed(trunk(net.state_dict()), "backbone."), **other}}
    return Layout(net, tree, features=True, note="(?i)set aside|left out")


@kind("detectron2 classifier: norms inside convolutions", "facebookresearch/detectron2")
def detectron2():
    net = resnet(bottleneck=True)
    return Layout(net, {"model": renamed(without_counters(net.state_dict()), *DETECTRON)}, note="1x1")


@kind("detectron2 detector: backbone.bottom_up", "facebookresearch/detectron2")
def detectron2_detector():
    net = resnet(bottleneck=True)
    state = prefixed(renamed(without_counters(trunk(net.state_dict())), *DETECTRON), "backbone.bottom_up.")
    state |= {"backbone.fpn_lateral2.weight": torch.randn(16, 32, 1, 1), "pixel_mean": torch.rand(3, 1, 1)}
    return Layout(net, {"model": state, "iteration": 90000}, features=True, note="(?i)set aside|left out")


@kind("maskrcnn-benchmark detector", "facebookresearch/maskrcnn-benchmark")
def maskrcnn_benchmark():
    net = resnet(bottleneck=True)
    state = renamed(without_counters(trunk(net.state_dict())), (r"^(conv1|bn1)\.", r"stem.\1."))
    other = {"module.rpn.head.conv.weight": torch.randn(16, 16, 3, 3), "module.rpn.head.conv.bias": torch.randn(16)}
    tree = {"model": {**prefixed(state, "module.backbone.body."), **other}, "iteration": 90000}
    return Layout(net, tree, features=True, note="(?i)set aside|left out")


@kind("fb.resnet.torch converted: nested Sequentials", "clcarwin/convert_torch_to_pytorch")
def fb_resnet():
    net = resnet()
    rules = ((r"^layer(\d)\.(\d)", lambda m: f"{int(m[1]) + 3}.{m[2]}"), (r"^conv1", "0"), (r"^bn1", "1"),
             (r"\.conv1\.", ".0.0.0."), (r"\.bn1\.", ".0.0.1."), (r"\.conv2\.", ".0.0.3."), (r"\.bn2\.", ".0.0.4."),
             (r"\.downsample\.", ".0.1."), (r"^fc", "10.1"))
    return Layout(net, renamed(net.state_dict(), *rules))


@kind("Sequential(*children)", "nn.Sequential(*list(net.children()))")
def children():
    net = resnet()
    return Layout(net, nn.Sequential(*net.children()).state_dict())


@kind("Sequential(*children[:-1]): no head", "feature extraction tutorials")
def children_without_head():
    net = resnet()
    return Layout(net, nn.Sequential(*list(net.children())[:-1]).state_dict(), features=True)


@kind("timm resnet-d: deep stem, averaging shortcuts", "huggingface/pytorch-image-models")
def timm_d():
    return Layout(resnet(stem="deep", avg_down=True), file="model.safetensors")


@kind("PyTorch tutorial: identity_downsample", "aladdinpersson's tutorial")
def identity_downsample():
    net = resnet(bottleneck=True)
    names = {1: "batch_norm1", 2: "batch_norm2", 3: "batch_norm3"}
    rules = ((r"downsample", "identity_downsample"), (r"\.bn(\d)", lambda m: "." + names[int(m[1])]))
    return Layout(net, renamed(net.state_dict(), *rules), note="1x1|strides")


class Block3(nn.Module):
    """A block whose shortcut stands before its convolutions, which it calls conv_1, batch_norm_1 …"""

    def __init__(self, i, o, s):
        super().__init__()
        self.skip_conv = nn.Conv2d(i, o, 1, s, bias=False) if s > 1 or i != o else None
        self.skip_norm = nn.BatchNorm2d(o) if s > 1 or i != o else None
        self.conv_1, self.batch_norm_1 = nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o)
        self.conv_2, self.batch_norm_2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)

    def forward(self, x):
        y = self.batch_norm_2(self.conv_2(self.batch_norm_1(self.conv_1(x)).relu()))
        return (y + (x if self.skip_conv is None else self.skip_norm(self.skip_conv(x)))).relu()


class Course(nn.Module):
    def __init__(self):
        super().__init__()
        self.Classifier = nn.Linear(64, 5)  # first in the file, last in the network
        self.stage_0 = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        sizes = ((8, 8, 1), (8, 16, 2), (16, 32, 2), (32, 64, 2))
        self.blocks = nn.ModuleList(Block3(*size) for size in sizes)

    def forward(self, x):
        x = self.stage_0(x)
        for block in self.blocks:
            x = block(x)
        return self.Classifier(x.mean((2, 3)))


add("a course's network: shortcut and head come first, blocks in one list", "exercises", lambda: lively(Course()))
