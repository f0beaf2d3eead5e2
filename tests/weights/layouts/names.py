"""Names and orders that nobody's library has: what people call their layers when they write a network by themselves."""

import numpy as np
import torch
from torch import nn

from .imagenet_projects import renamed, trunk
from .kind import Layout, add, kind, lively
from .nets import Net, conv, resnet
from .wrappers import prefixed

RULES = {
    "underscores for dots": ((r"\.", "_"),),
    "slashes for dots": ((r"\.", "/"),),
    "a suffix :0": ((r"$", ":0"),),
    "a suffix .value": ((r"$", ".value"),),
    "keys of keystr: ['conv1']['weight']": ((r"\.", "']['"), (r"^", "['"), (r"$", "']")),
    "spaces and emoji": ((r"\.", " "), (r"^", "🦊 ")),
    "names of 300 letters": ((r"^", "x" * 300 + "."),),
    "camel case": ((r"\.", ""), (r"layer", "Layer"), (r"weight", "Weight"), (r"running_mean", "RunningMean"),
                   (r"running_var", "RunningVar"), (r"num_batches_tracked", "Counter")),
    "stages.0.0": ((r"^layer(\d)", lambda m: f"stages.{int(m[1]) - 1}"),),
    "stage1.block0": ((r"^layer(\d)\.(\d)", r"stage\1.block\2"),),
    "res_blocks2, skip": ((r"^layer(\d)", lambda m: f"res_blocks{int(m[1]) + 1}"), ("downsample", "skip")),
    "conv2_1 … conv5_2": ((r"^layer(\d)\.(\d)", lambda m: f"conv{int(m[1]) + 1}_{int(m[2]) + 1}"),),
    "group1.unit1, proj": ((r"^layer(\d)\.(\d)", r"group\1.unit\2"), ("downsample", "proj")),
    "norm1 for bn1": ((r"\bbn(\d)", r"norm\1"), ("downsample.1", "downsample.norm")),
    "n1, c1, short": ((r"\bbn(\d)", r"n\1"), (r"\bconv(\d)", r"c\1"), ("downsample", "short")),
    "batchnorm1, convolution1": ((r"\bbn(\d)", r"batchnorm\1"), (r"\bconv(\d)", r"convolution\1")),
    "ConvModule: conv1.conv, conv1.bn": ((r"\bbn(\d)", r"conv\1.bn"), (r"\bconv(\d)\.weight", r"conv\1.conv.weight")),
    "branch.0 … branch.4, identity": ((r"\.conv(\d)", lambda m: f".branch.{3 * int(m[1]) - 3}"),
                                      (r"\.bn(\d)", lambda m: f".branch.{3 * int(m[1]) - 2}"), ("downsample",
                                          "identity")),
    "convolutions in a branch, norms beside it": ((r"\.conv(\d)\.", r".branch.\1.conv."),),
    "norms in a branch, w1 beside it": ((r"\.conv(\d)\.", r".w\1."), (r"\.bn(\d)\.", r".branch.\1.norm.")),
    "left and right": ((r"(\d)\.conv(\d)", lambda m: f"{m[1]}.left.{3 * int(m[2]) - 3}"),
                       (r"(\d)\.bn(\d)", lambda m: f"{m[1]}.left.{3 * int(m[2]) - 2}"), ("downsample", "right")),
    "1-based blocks": ((r"^layer(\d)\.(\d)", lambda m: f"layer{m[1]}.{int(m[2]) + 1}"),),
    "German words": ((r"layer", "Stufe"), (r"\bconv", "Faltung"), (r"\bbn", "Norm"), (r"downsample", "Abkürzung"),
        ("fc", "Kopf")),
    "gamma, beta, mean, variance": ((r"(bn\d|downsample\.1)\.weight", r"\1.gamma"), (r"(bn\d|downsample\.1)\.bias",
        r"\1.beta"),
                                    ("running_mean", "moving_mean"), ("running_var", "moving_variance")),
    "w, b, g, mu, sigma2": ((r"(bn\d|downsample\.1)\.weight", r"\1.g"), (r"bias", "b"), ("weight", "w"),
        ("running_mean", "mu"),
                            ("running_var", "sigma2")),
    "_weight, _bias": ((r"\.(weight|bias|running_mean|running_var|num_batches_tracked)$", r"._\1"),),
}
for _name, _rules in RULES.items():

    def _make(rules=_rules):
        net = resnet(depths=(2, 1, 1, 1))
        return Layout(net, renamed(net.state_dict(), *rules))

    add(f"names: {_name}", "networks by hand", _make)


@kind("names: bottlenecks under names by hand", "networks by hand")
def bottleneck():
    net = resnet(bottleneck=True, depths=(1, 2, 1, 1))
    rules = ((r"^layer(\d)\.(\d)", r"part\1.unit\2"), (r"\.conv1", ".reduce"), (r"\.conv2", ".spatial"), (r"\.conv3",
        ".expand"),
             ("downsample", "match"), ("fc", "out"))
    return Layout(net, renamed(net.state_dict(), *rules), note="1x1")


ORDERS = {
    "sorted": lambda s: dict(sorted(s.items())),
    "reversed": lambda s: dict(reversed(s.items())),
    "shuffled": lambda s: {k: s[k] for k in map(str, np.random.default_rng(0).permutation(list(s)))},
}
for _name, _order in ORDERS.items():
    for _style, _rules in (("torchvision's names", ()), ("names by hand", RULES["left and right"])):

        def _ordered(order=_order, rules=_rules):
            net = resnet(depths=(2, 1, 1, 1))
            return Layout(net, order(renamed(net.state_dict(), *rules)))

        add(f"order: {_style}, {_name}", "json, npz and safetensors writers sort", _ordered)


class Flat(nn.Module):
    """All blocks in one list, all convolutions of a block in one list and its norms in another."""

    def __init__(self, depths=(3, 3, 3, 3), width=4, lists=False):
        super().__init__()
        net = Net(depths=depths, width=width)
        self.blocks = nn.ModuleList(block for name in net.stages for block in getattr(net, name))
        self.stem, self.stem_norm, self.pool, self.final = net.conv1, net.bn1, net.maxpool, net.fc

    def forward(self, x):
        x = self.pool(self.stem_norm(self.stem(x)).relu())
        for block in self.blocks:
            x = block(x)
        return self.final(x.mean((2, 3)))


@kind("order: twelve blocks in one list, sorted, 10 before 2", "safetensors of networks by hand")
def flat_sorted():
    net = lively(Flat())
    return Layout(net, dict(sorted(net.state_dict().items())), "net.safetensors")


class Lists(nn.Module):
    """convs, norms and projections each in a list of their own."""

    def __init__(self):
        super().__init__()
        sizes = [(8, 8, 1), (8, 16, 2), (16, 32, 2), (32, 64, 2)]
        self.convs = nn.ModuleList([conv(3, 8, 7, 2)] + [c for i, o, s in sizes for c in (conv(i, o, 3, s), conv(o,
            o))])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8)] + [nn.BatchNorm2d(o) for _, o, _ in sizes for _ in range(2)])
        self.projections = nn.ModuleList(conv(i, o, 1, s) for i, o, s in sizes[1:])
        self.projection_norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _ in sizes[1:])
        self.linear = nn.Linear(64, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.norms[0](self.convs[0](x)).relu(), 3, 2, 1)
        for n in range(4):
            y = self.norms[2 * n + 2](self.convs[2 * n + 2](self.norms[2 * n + 1](self.convs[2 * n + 1](x)).relu()))
            x = (y + (self.projection_norms[n - 1](self.projections[n - 1](x)) if n else x)).relu()
        return self.linear(x.mean((2, 3)))


add("order: convs, norms and projections in lists of their own", "networks by hand", lambda: lively(Lists()))


def parts(net, prefix, **head):
    return {**prefixed(trunk(net.state_dict()), prefix), **head}


PARTS = {
    "Sequential(trunk, head): 0.conv1, 1.weight": lambda n: parts(n, "0.", **prefixed(n.fc.state_dict(), "1.")),
    "features of children, classifier": lambda n: {
        **prefixed(nn.Sequential(*list(n.children())[:-1]).state_dict(), "features."), **prefixed(n.fc.state_dict(),
            "classifier.")},
    "features of children, fc": lambda n: {
        **prefixed(nn.Sequential(*list(n.children())[:-1]).state_dict(), "features."), **n.fc.state_dict(prefix="fc.")},
    "cnn and classifier.2": lambda n: parts(n, "cnn.", **prefixed(n.fc.state_dict(), "classifier.2.")),
    "featurizer.network, classifier and their copies (DomainBed)": lambda n: {
        **parts(n, "featurizer.network.", **prefixed(n.fc.state_dict(), "classifier.")),
        **parts(n, "network.0.network.", **prefixed(n.fc.state_dict(), "network.1."))},
    "trunk and head in two dictionaries": lambda n: {"backbone": trunk(n.state_dict()),
        "classifier": n.fc.state_dict()},
    "encoder and fc in two dictionaries": lambda n: {"encoder": trunk(n.state_dict()), "fc": n.fc.state_dict(),
        "epoch": 3},
    "pairs (name, tensor)": lambda n: list(n.state_dict().items()),
    "a list of layers' dictionaries": lambda n: [dict(m.state_dict())
        for m in n.modules() if not list(m.children()) and m.state_dict()],
    "model under the epoch's number": lambda n: {0: n.state_dict()},
    "NumPy strings for names": lambda n: {np.str_(k): v for k, v in n.state_dict().items()},
    "texts and None among the arrays": lambda n: {"arch": "resnet", "ema": None, **n.state_dict(), "lr": 0.1},
}
for _name, _tree in PARTS.items():

    def _parts(tree=_tree):
        net = resnet()
        return Layout(net, tree(net))

    add(f"parts: {_name}", "networks by hand", _parts)


@kind("parts: parameters without buffers", "torch.save(list(net.parameters())), named_parameters()")
def parameters():
    return Layout(tree=dict(resnet().named_parameters()), refusal=r"(?i)running|statistics|buffers")


@kind("parts: two trunks and a head over both", "Siamese and two-stream networks")
def siamese():
    state = {**parts(resnet(), "rgb."), **parts(resnet(), "flow."), "fc.weight": torch.randn(5, 128),
        "fc.bias": torch.randn(5)}
    return Layout(tree=state, refusal=r"(?i)\btwo\b|several|select|rgb.*flow|128")


@kind("parts: an ensemble of two", "ensembles")
def ensemble():
    state = {**prefixed(resnet().state_dict(), "models.0."), **prefixed(resnet().state_dict(), "models.1.")}
    return Layout(tree=state, refusal=r"(?i)\btwo\b|several|select")


@kind("parts: a recurrent layer after the trunk", "video captioning")
def recurrent():
    net = resnet()
    state = parts(net, "cnn.", **prefixed(nn.LSTM(64, 16).state_dict(), "lstm."), **prefixed(nn.Linear(16,
        5).state_dict(), "fc."))
    return Layout(net, state, features=True, note=r"(?i)lstm", refusal=r"(?i)lstm|recurrent|head")


@kind("parts: low-rank adapters beside the weights", "PEFT: lora_A, lora_B")
def lora():
    net = resnet()
    state = {k.replace("conv1.weight", "conv1.base_layer.weight"): v for k, v in net.state_dict().items()}
    for key in [k for k in state if "base_layer" in k]:
        o, i, k1, k2 = state[key].shape
        state[key.replace("base_layer", "lora_A.default")] = torch.randn(2, i, k1, k2)
        state[key.replace("base_layer", "lora_B.default")] = torch.randn(o, 2, 1, 1)
    return Layout(tree=state, refusal=r"(?i)lora|low-rank|adapter")


@kind("kernels HWIO under torchvision's names", "converters that left the axes")
def hwio_kernels():
    net = resnet()
    tree = {k: v.permute(2, 3, 1, 0) if v.ndim == 4 else v for k, v in net.state_dict().items()}
    return Layout(net, tree, refusal=r"(?i)axes|HWIO|order")
