"""Layers, and the two theorems that compose them: the chain rule and the sum rule."""

from . import fusion  # noqa: F401    sets Chain.fused
from .compose import Chain, Identity, Residual, Sequential
from .init import initialize, zero_last_gamma
from .layers import (
    GELU,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    BlurPool2d,
    ChannelConv,
    ConstantPad2d,
    Conv2d,
    GlobalAvgPool2d,
    GroupNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    SiLU,
    Softmax,
    Subsample,
    ZeroPad2d,
    ZeroPadChannels,
    freeze_batch_norm,
    synchronize_batch_norm,
)
from .module import Buffer, Module, Parameter
from .placeholders import placeholders

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "BlurPool2d",
    "Buffer",
    "Chain",
    "ChannelConv",
    "ConstantPad2d",
    "Conv2d",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Identity",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Softmax",
    "Subsample",
    "ZeroPad2d",
    "ZeroPadChannels",
    "freeze_batch_norm",
    "initialize",
    "placeholders",
    "synchronize_batch_norm",
    "zero_last_gamma",
]
