"""Tensors that are not plain arrays: pruned, weight-normed, quantized, sparse, without data."""

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from .kind import Layout, kind
from .nets import resnet
from .wrappers import wrapped


@kind("pruned: weight_orig and weight_mask", "torch.nn.utils.prune")
def pruned():
    net = resnet()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            prune.random_unstructured(module, "weight", 0.3)
    return net


@kind("weight norm in every convolution: weight_g and weight_v", "torch.nn.utils.weight_norm")
def weight_norm():
    net = resnet()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            torch.nn.utils.weight_norm(module)
    return net


@kind("weight norm as a parametrisation: original0 and original1", "torch.nn.utils.parametrizations")
def parametrised():
    net = resnet()
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d):
            parametrizations.weight_norm(module)
    return net


@kind("spectral norm: weight_orig, weight_u, weight_v", "torch.nn.utils.spectral_norm")
def spectral_norm():
    net = resnet()
    torch.nn.utils.spectral_norm(net.conv1)
    return Layout(net.eval(), refusal=r"(?i)spectral|weight_u")


def swapped(**changes):
    return lambda state: {k: changes["convert"](v) if v.ndim == 4 else v for k, v in state.items()}


def refused(name, source, convert, words):
    wrapped(name, source, swapped(convert=convert), refusal=words)


refused("float8", "torch.float8_e4m3fn", lambda v: v.to(torch.float8_e4m3fn), "(?i)float8")
refused("sparse", "v.to_sparse()", lambda v: v.to_sparse(), "(?i)sparse")
refused("meta tensors", "accelerate: init_empty_weights", lambda v: v.to("meta"), r"(?i)\bmeta\b|no data|without data")
refused(
    "quantized",
    "torch.quantize_per_tensor",
    lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8),
    "quanti[sz]ed",
)
refused(
    "int8 with scales elsewhere", "post-training quantization", lambda v: (v * 50).to(torch.int8), "int8|quanti[sz]ed"
)
refused("complex", "spectral methods", lambda v: v.to(torch.complex64), r"(?i)complex")
