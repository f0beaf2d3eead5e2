"""Every option of structure that shows in the arrays."""

import torch
from torch import nn

from .kind import Layout, add, kind, lively
from .nets import Net, cifar, resnet

NETS = {
    "ResNet-18": ({"depths": (2, 2, 2, 2)}, "the paper"),
    "depths 2, 1, 3, 1": ({"depths": (2, 1, 3, 1)}, "architecture search"),
    "ResNet-14 of bottlenecks": ({"bottleneck": True}, "timm resnet14t-like"),
    "ResNet-26": ({"bottleneck": True, "depths": (2, 2, 2, 2)}, "timm resnet26"),
    "half as wide": ({"width": 4}, "width multipliers"),
    "odd width 6": ({"width": 6}, "pruned uniformly"),
    "width 12": ({"width": 12}, "width multipliers"),
    "three stages, 7x7 stem": ({"depths": (1, 1, 1)}, "small networks"),
    "five stages": ({"depths": (1, 1, 1, 1, 1), "strides": (1, 2, 2, 2, 2), "dilations": (1,) * 5, "width": 4},
                    "satellite images"),
    "two stages": ({"depths": (2, 2)}, "MNIST"),
    "4 groups": ({"bottleneck": True, "groups": 4, "base_width": 32}, "ResNeXt"),
    "2 groups": ({"bottleneck": True, "groups": 2, "base_width": 32}, "ResNeXt of another cardinality"),
    "8 groups, wide": ({"bottleneck": True, "groups": 8, "base_width": 64}, "ResNeXt"),
    "wide bottleneck": ({"bottleneck": True, "base_width": 128}, "Wide ResNet-50-2"),
    "narrow bottleneck": ({"bottleneck": True, "base_width": 32}, "pruned"),
    "squeeze and excitation, basic": ({"se": True}, "timm seresnet18"),
    "squeeze and excitation, bottleneck": ({"se": True, "bottleneck": True}, "timm seresnet50"),
    "SE-ResNeXt": ({"se": True, "bottleneck": True, "groups": 4, "base_width": 32}, "timm seresnext"),
    "deep stem": ({"stem": "deep"}, "timm resnet18s-like"),
    "averaging shortcuts": ({"avg_down": True, "stem": "deep", "bottleneck": True}, "ResNet-D"),
    "shortcut C": ({"shortcut": "C", "depths": (2, 2, 1, 1)}, "the paper's option C"),
    "a projection in the first block": ({"shortcut": "B-leading", "depths": (2, 1, 1, 1)}, "tutorials"),
    "biases in all convolutions": ({"bias": True, "stem_bias": True}, "Keras-like networks in PyTorch"),
    "biases in all convolutions, bottleneck": ({"bias": True, "stem_bias": True, "bottleneck": True}, "exercises"),
    "biases in the blocks alone": ({"bias": True}, "exercises"),
    "1 input channel": ({"channels": 1}, "medical images, MNIST"),
    "2 input channels": ({"channels": 2}, "Siamese networks by stacking"),
    "4 input channels": ({"channels": 4}, "RGB-D"),
    "12 input channels": ({"channels": 12}, "Sentinel-2"),
    "conv1 with a bias, 1 channel": ({"channels": 1, "stem_bias": True}, "nn.Conv2d(1, 64, 7, 2, 3)"),
    "conv1 with a bias, 3 channels": ({"stem_bias": True}, "nn.Conv2d(3, 64, 7, 2, 3)"),
    "conv1 with a bias, 4 channels, bottleneck": ({"channels": 4, "stem_bias": True, "bottleneck": True}, "RGB-D"),
    "1 class": ({"classes": 1}, "regression"),
    "1000 classes": ({"classes": 1000}, "ImageNet"),
    "as many classes as features": ({"classes": 64}, "metric learning"),
}
for _name, (_options, _source) in NETS.items():
    add(f"structure: {_name}", _source,
        lambda o=_options: Layout(lively(Net(**o)), channels=o.get("channels", 3)))

CIFAR = {
    "option A, centred, three stages": ({"shortcut": "A"}, {"note": "A-appended"}, "the paper, CIFAR"),
    "option B, three stages": ({}, {}, "pytorch-cifar-models"),
    "bottleneck, three stages": ({"bottleneck": True}, {}, "ResNet-164 without pre-activation"),
    "wide, three stages": ({"width": 16}, {}, "Wide ResNet after activation"),
    "SE, three stages": ({"se": True}, {}, "moskomule/senet.pytorch"),
    "ResNeXt-29": ({"bottleneck": True, "groups": 4, "base_width": 32}, {}, "kuangliu, bearpaw ResNeXt-29"),
    "1 input channel, three stages": ({"channels": 1}, {}, "MNIST, Fashion-MNIST"),
}
for _name, (_options, _expected, _source) in CIFAR.items():
    add(f"structure: {_name}", _source,
        lambda o=_options, e=_expected: Layout(cifar(**o), size=32, channels=o.get("channels", 3), **e))


@kind("structure: 5x5 stem, whose stride and pooling leave no trace", "exercises")
def stem5():
    net = resnet(stem=5, stem_stride=2)
    return Layout(net, note=r"(?i)pool|stride")


@kind("structure: option A, four stages", "kuangliu-like with padding")
def option_a():
    return Layout(resnet(shortcut="A"), note=r"(?i)A-appended|plain")


@kind("structure: GroupNorm for batch norm", "group-normalised fine-tuning")
def group_norm():
    return Layout(resnet(norm=lambda c: nn.GroupNorm(4, c)), refusal=r"(?i)groups|GroupNorm", note=r"(?i)group")


@kind("structure: GroupNorm, as a whole module", "group-normalised fine-tuning, torch.save(net)")
def group_norm_module():
    net = resnet(norm=lambda c: nn.GroupNorm(4, c))
    return Layout(net, net)


@kind("structure: batch norms folded into biases", "torch.nn.utils.fusion, deployment")
def folded():
    net = resnet()
    pairs = [("conv1", "bn1")]
    for name, module in net.named_modules():
        pairs += [(f"{name}.{c}", f"{name}.bn{c[-1]}") for c in ("conv1", "conv2") if name and hasattr(module, c)]
        pairs += [(f"{name}.0", f"{name}.1")] if name.endswith("downsample") else []
    state = net.state_dict()
    for c, n in pairs:
        gain = state[f"{n}.weight"] / (state[f"{n}.running_var"] + 1e-5).sqrt()
        state[f"{c}.weight"] = state[f"{c}.weight"] * gain[:, None, None, None]
        state[f"{c}.bias"] = state[f"{n}.bias"] - state[f"{n}.running_mean"] * gain
        state = {key: value for key, value in state.items() if not key.startswith(f"{n}.")}
    return Layout(net, state)


@kind("structure: batch norm without gamma and beta", "affine=False")
def not_affine():
    return resnet(norm=lambda c: nn.BatchNorm2d(c, affine=False))


@kind("structure: batch norm without statistics", "track_running_stats=False")
def no_statistics():
    net = resnet(norm=lambda c: nn.BatchNorm2d(c, track_running_stats=False))
    return Layout(tree=net.state_dict(), refusal=r"(?i)running|statistics|mean")


@kind("structure: channels pruned unevenly", "VainF/Torch-Pruning")
def pruned_channels():
    net = resnet()
    block = net.layer2[0]
    block.conv1, block.bn1 = nn.Conv2d(8, 11, 3, 2, 1, bias=False), nn.BatchNorm2d(11)
    block.conv2 = nn.Conv2d(11, 16, 3, 1, 1, bias=False)
    return Layout(lively(net), refusal=r"(?i)layer2|channels|11|pruned")


@kind("structure: a block is missing", "a damaged file")
def missing_block():
    net = resnet(depths=(1, 2, 1, 1))
    state = {key: value for key, value in net.state_dict().items() if "layer2.0.conv2" not in key}
    return Layout(tree=state, refusal=r"(?i)layer2\.0|lacks|missing|incomplete")


@kind("structure: a head of another width", "files of two networks mixed up")
def wrong_head():
    state = resnet().state_dict() | {"fc.weight": torch.randn(5, 48)}
    return Layout(tree=state, refusal=r"(?i)fc|head|48|64")
