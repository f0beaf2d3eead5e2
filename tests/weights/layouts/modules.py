"""Whole pickled models, TorchScript, exported programs: the module tree also tells strides, eps and activations."""

from types import SimpleNamespace

import torch
from torch import nn

from .cifar_projects import Kuangliu, Stages, WeiaicunzaiNet
from .kind import Layout, add, kind, lively
from .nets import resnet
from .preactivation import PreNet

TREES = {
    "alone": ("torch.save(net)", lambda net: net),
    "in a checkpoint": ("scripts", lambda net: {"epoch": 3, "model": net, "args": SimpleNamespace(lr=0.1)}),
    "in DataParallel": ("torch.save(DataParallel(net))", nn.DataParallel),
    "behind a normalising layer": ("adversarial robustness", lambda net: nn.Sequential(nn.Identity(), net)),
    "beside its state dict": ("scripts", lambda net: {"net": net, "state_dict": net.state_dict()}),
    "with a criterion and hooks": ("scripts", lambda net: {"model": net, "criterion": nn.CrossEntropyLoss()}),
    "(net, accuracy)": ("scripts", lambda net: (net, 0.7)),
}
for _name, (_source, _wrap) in TREES.items():

    def _whole(wrap=_wrap):
        net = resnet()
        return Layout(net, wrap(net))

    add(f"whole module: {_name}", _source, _whole)

OTHERS = {
    "kuangliu": (lambda: Stages(Kuangliu), 32),
    "weiaicunzai": (lambda: WeiaicunzaiNet(bottleneck=True), 32),
    "pre-activation": (lambda: PreNet((2, 1, 1)), 32),
    "Sequential of children": (
        lambda: nn.Sequential(*list(resnet().children())[:-1], nn.Flatten(), nn.Linear(64, 5)),
        64,
    ),
}
for _name, (_make, _size) in OTHERS.items():

    def _other(make=_make, size=_size):
        net = lively(make())
        return Layout(net, net, size=size, doubt="first.block|reads x")

    add(f"whole module: {_name}", "torch.save(net)", _other)


@kind("whole module: float16", "net.half()")
def half_module():
    net = resnet().half()
    return Layout(net.float(), net)


@kind("whole module: legacy pickle", "torch.save before 1.6", slow=True)
def legacy_module(folder):
    net = resnet()
    torch.save(net, folder / "old.pth", _use_new_zipfile_serialization=False)
    return Layout(net, file=folder / "old.pth")


@kind("whole module: head replaced by Sequential(Dropout, Linear)", "fine-tuning tutorials")
def sequential_head():
    net = resnet()
    net.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 5))
    net = lively(net)
    return Layout(net, net)


def edited(name, edit, words, **options):
    """A whole module with a change that the family lacks, or has as an option: right, or refused."""

    def make():
        net = resnet(**options)
        edit(net)
        return Layout(lively(net), net, refusal=words)

    add(f"whole module: {name}", "fine-tuning scripts", make)


def pooled_stage(net):
    net.layer3 = nn.Sequential(nn.MaxPool2d(2, 2), *net.layer3)


edited("maximum for the mean before the head", lambda n: setattr(n, "avgpool", nn.AdaptiveMaxPool2d(1)), r"(?i)pool")
edited("a pooling inside a stage", pooled_stage, r"(?i)pool")
edited("reflecting padding", lambda n: setattr(n, "conv1", nn.Conv2d(3, 8, 7, 2, 3, bias=False,
    padding_mode="reflect")), "reflect")
edited("pooling 2x2", lambda n: setattr(n, "maxpool", nn.MaxPool2d(2, 2)), r"(?i)pool")
edited("pooling 3x3 without padding", lambda n: setattr(n, "maxpool", nn.MaxPool2d(3, 2)), r"(?i)pool")
edited("dropout between stages", lambda n: setattr(n, "layer4", nn.Sequential(*n.layer4, nn.Dropout2d())),
    "(?i)dropout")
edited("ELU", lambda n: None, r"ELU", act=nn.ELU)
edited("PReLU", lambda n: None, r"(?i)PReLU|'relu'", act=nn.PReLU)
edited("GELU by tanh", lambda n: None, r"tanh", act=lambda: nn.GELU("tanh"))
edited("instance norms", lambda n: None, r"InstanceNorm", norm=lambda c: nn.InstanceNorm2d(c, affine=True,
    track_running_stats=True))
edited("group norm of one group", lambda n: None, r"(?i)group", norm=lambda c: nn.GroupNorm(1, c))
edited("averaging shortcuts, last stage dilated", lambda n: None, r"(?i)shortcut|dilat|pool", avg_down=True,
    bottleneck=True,
       strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
edited("averaging shortcuts, last stage without stride", lambda n: None, r"(?i)shortcut|stride|pool", avg_down=True,
       strides=(1, 2, 2, 1))


@kind("whole module: head ends in a softmax", "fine-tuning scripts")
def softmax():
    net, whole = resnet(), resnet()
    whole.load_state_dict(net.state_dict())
    whole.fc = nn.Sequential(whole.fc, nn.Softmax(1))
    return Layout(net, whole)  # logits() gives the scores before it


@kind("whole module: head replaced by Identity", "feature extractors")
def identity_head():
    net = resnet()
    net.fc = nn.Identity()
    return Layout(net, net, features=True)


@kind("TorchScript, traced", "torch.jit.trace(net, x).save")
def traced(folder):
    net = resnet()
    torch.jit.trace(net, torch.zeros(1, 3, 64, 64), check_trace=False).save(folder / "traced.pt")
    return Layout(net, file=folder / "traced.pt")


@kind("TorchScript, traced, strides on the 1x1", "torch.jit.trace(net, x).save", slow=True)
def traced_v1(folder):
    net = resnet(bottleneck=True, stride_on="1x1")
    torch.jit.trace(net, torch.zeros(1, 3, 64, 64), check_trace=False).save(folder / "traced.pt")
    return Layout(net, file=folder / "traced.pt", doubt="1x1")


@kind("exported program", "torch.export.save", slow=True)
def exported(folder):
    net = resnet()
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3, 64, 64),)), folder / "net.pt2")
    return Layout(net, file=folder / "net.pt2")


@kind("whole module of another library's class: a detector", "torch.save(detector)")
def detector():
    net = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "boxes": nn.Linear(4, 4)})
    return Layout(tree=net, refusal=r"(?i)not .*ResNet|no ResNet|no network")
