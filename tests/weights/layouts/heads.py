"""What stands where torchvision has fc: other names, Sequentials, convolutions, two heads, none."""

import torch
from torch import nn

from .kind import Layout, add, kind, lively
from .nets import resnet

ASIDE = r"(?i)set aside|left out"

NAMES = {
    "classifier": "torchreid, DLA",
    "last_linear": "Cadene/pretrained-models.pytorch",
    "head": "timm's later families",
    "linear": "akamaster, kuangliu",
    "head.fc": "OpenMMLab",
    "output": "pytorchcv",
    "logits": "converters from TensorFlow",
    "fc_new": "fine-tuning tutorials",
    "_fc": "EfficientNet-like wrappers",
    "classifier.0": "Sequential(Linear)",
    "classifier.1": "Sequential(Dropout, Linear)",
    "fc.3": "Sequential(Dropout, Identity, Identity, Linear)",
}


def renamed(net, old, new):
    return {new + key.removeprefix(old) if key.startswith(old) else key: v for key, v in net.state_dict().items()}


def with_head(name):
    net = resnet()
    return Layout(net, renamed(net, "fc", name))


for _name, _source in NAMES.items():
    add(f"head named {_name}", _source, lambda name=_name: with_head(name))


@kind("head without a bias", "face recognition, imprinting")
def no_bias():
    net = resnet()
    net.fc = nn.Linear(64, 5, bias=False)
    return lively(net)


@kind("head as a 1x1 convolution", "fully convolutional classifiers")
def convolution():
    net = resnet()
    state = net.state_dict()
    return Layout(net, {**state, "fc.weight": state["fc.weight"][:, :, None, None]})


@kind("head of one logit", "BCEWithLogitsLoss")
def one_logit():
    return resnet(classes=1)


@kind("two heads, the second named fc2", "multi-task scripts")
def two_heads():
    net = resnet()
    return Layout(net, {**net.state_dict(), "fc2.weight": torch.randn(3, 64), "fc2.bias": torch.randn(3)}, note="fc2")


@kind("two heads, neither named fc", "multi-task scripts")
def two_equal_heads():
    net = resnet()
    state = {key: value for key, value in net.state_dict().items() if not key.startswith("fc")}
    state |= {f"{head}.{part}": torch.randn(shape) for head, n in (("age", 8), ("gender", 2))
              for part, shape in (("weight", (n, 64)), ("bias", (n,)))}
    return Layout(tree=state, refusal=r"(?i)(two|several|2) heads|age.*gender|which")


def with_hidden_layer(activation):
    """A network whose classifier is Linear, an activation, Linear."""
    net = resnet()
    net.fc = nn.Sequential(nn.Linear(64, 12), activation, nn.Linear(12, 5))
    return net


@kind("head of two linear layers", "fc = Sequential(Linear, ReLU, Linear)")
def hidden_layer():
    net = with_hidden_layer(nn.ReLU())
    return Layout(lively(net), note=r"a ReLU is assumed.*model\.fc\.1")


@kind("head of three linear layers", "Linear-ReLU-Dropout twice, then Linear")
def two_hidden_layers():
    net = resnet()
    parts = nn.Linear(64, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 5)
    net.fc = nn.Sequential(*parts)
    return Layout(lively(net), note=r"3 linear layers.*model\.fc\.1 and 3")


@kind("heads fc1 and fc2, one behind the other", "scripts: F.relu(self.fc1(x))")
def fc1_and_fc2():
    net = with_hidden_layer(nn.ReLU())
    state = {k.replace("fc.0", "fc1").replace("fc.2", "fc2"): v for k, v in lively(net).state_dict().items()}
    return Layout(net, state, note=r"a ReLU is assumed.*model\.fc\.1")


@kind("head of two linear layers, another activation", "fc = Sequential(Linear, GELU, Linear)")
def hidden_gelu():
    net = with_hidden_layer(nn.GELU())
    return Layout(lively(net), doubt=r"a ReLU is assumed")


@kind("head of two linear layers, another activation, the whole model", "torch.save(model, path)")
def hidden_gelu_saved_whole():
    net = resnet()
    net.fc = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Dropout(), nn.Linear(64, 5))
    return Layout(lively(net), net)


@kind("head of two linear layers, nothing between, the whole model", "bottlenecks of features")
def hidden_linear():
    net = resnet()
    net.fc = nn.Sequential(nn.Linear(64, 12), nn.Linear(12, 5))
    return Layout(lively(net), net)


@kind("head of two linear layers with a Tanh between, the whole model", "torch.save(model, path)")
def hidden_tanh():
    net = resnet()
    net.fc = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 5))
    return Layout(lively(net), net, refusal="head has a 'Tanh'")


@kind("head with a BatchNorm1d", "Linear-BatchNorm1d-ReLU-Linear")
def hidden_norm():
    net = resnet()
    net.fc = nn.Sequential(nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 5))
    return Layout(lively(net), refusal=r"the norm 'fc\.1' stands in the head")


@kind("head of concatenated pooling", "fastai")
def fastai():
    body = resnet()
    head = nn.Sequential(nn.BatchNorm1d(128), nn.Dropout(), nn.Linear(128, 16, bias=False), nn.ReLU(),
                         nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 5, bias=False))
    lively(head)
    names = {"conv1": "0.0", "bn1": "0.1", **{f"layer{i}": f"0.{i + 3}" for i in range(1, 5)}}
    state = {
        names[k.split(".")[0]] + k[k.index(".") :]: v for k, v in body.state_dict().items() if not k.startswith("fc")
    }
    state |= {f"1.{2 + int(k[0])}{k[1:]}": v for k, v in head.state_dict().items()}
    return Layout(body, {"model": state, "opt": None}, features=True, note=ASIDE, refusal=r"(?i)head|128|pool")


@kind("no head", "DINO, VICReg, Barlow Twins: the trunk alone")
def headless():
    net = resnet()
    return Layout(net, {k: v for k, v in net.state_dict().items() if not k.startswith("fc")}, features=True)


@kind("head = cosine classifier", "few-shot learning: weight_g and weight_v")
def weight_norm():
    net = resnet()
    net.fc = torch.nn.utils.weight_norm(net.fc)
    return net
