"""Options that leave no trace in the arrays: a state dict loads as the commonest, a module as it is."""

from torch import nn

from .kind import Layout, add
from .nets import cifar, resnet


def stem_stride(net):
    net.conv1.stride = (1, 1)


def no_pool(net):
    net.maxpool = nn.Identity()


def each(net, kind, change):
    for module in net.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, kind):
                replaced = change(child)
                if replaced is not None:
                    setattr(module, name, replaced)


def eps(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def ceil(net):
    net.maxpool = nn.MaxPool2d(3, 2, 0, ceil_mode=True)


def average_stem(net):
    net.maxpool = nn.AvgPool2d(3, 2, 1)


def activation(make):
    return lambda net: each(net, nn.ReLU, lambda old: make())


EDITS = {
    "maxpool removed": (no_pool, r"(?i)pool"),
    "conv1 of stride 1": (stem_stride, r"(?i)stride|stem"),
    "LeakyReLU": (activation(lambda: nn.LeakyReLU(0.1)), r"(?i)activation|relu"),
    "SiLU": (activation(nn.SiLU), r"(?i)activation|relu"),
    "GELU": (activation(nn.GELU), r"(?i)activation|relu"),
    "eps 1e-3": (eps, r"(?i)eps"),
    "pooling that rounds up": (ceil, r"(?i)pool"),
    "average pooling in the stem": (average_stem, r"(?i)pool"),
}
VARIANTS = {
    "dilated stages 3 and 4": ({"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}, r"(?i)dilat|output.stride"),
    "stride on the 1x1": ({"stride_on": "1x1"}, r"1x1"),
    "last stage without stride": ({"strides": (1, 2, 2, 1)}, r"(?i)stride"),
}


def enter(name, pair, note, source, doubt=""):
    """Two kinds: the state dict, computed as the commonest and noted; the whole module, right."""

    def state():
        net, common = pair()
        return Layout(common, net.state_dict(), note=note, size=common.size)

    def whole():
        net, _ = pair()
        return Layout(net, net, size=net.size, doubt=doubt)

    add(f"no trace, state dict: {name}", source, state)
    add(f"no trace, whole module: {name}", f"{source}; torch.save(net)", whole)


def twins(make, usual, other):
    """(the network with the other options, the commonest with the same weights)."""
    net, common = make(**other), make(**usual)
    common.load_state_dict(net.state_dict())
    return net, common


def with_edit(edit):
    net, common = resnet(depths=(2, 1, 1, 1)), resnet(depths=(2, 1, 1, 1))
    common.load_state_dict(net.state_dict())
    edit(net)
    return net, common


for _name, (_edit, _note) in EDITS.items():
    enter(_name, lambda edit=_edit: with_edit(edit), _note, "fine-tuning scripts")
for _name, (_other, _note) in VARIANTS.items():
    enter(_name, lambda o=_other: twins(resnet, {"bottleneck": True}, {"bottleneck": True} | o), _note,
          "segmentation backbones")
enter(
    "zeros appended",
    lambda: twins(cifar, {"shortcut": "A"}, {"shortcut": "A-appended"}),
    "A-appended",
    "fb.resnet.torch",
    doubt="A-appended",
)
