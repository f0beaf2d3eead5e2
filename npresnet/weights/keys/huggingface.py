"""Translates Hugging Face's names for the arrays of a ResNetForImageClassification to torchvision's, and back.

resnet.embedder.embedder.convolution.weight                          conv1.weight
resnet.encoder.stages.0.layers.1.layer.2.normalization.bias          layer1.1.bn3.bias
resnet.encoder.stages.0.layers.0.shortcut.convolution.weight         layer1.0.downsample.0.weight
classifier.1.weight                                                  fc.weight
"""

import re
from collections.abc import Collection

from ...formats.errors import WeightsError

STEM = "resnet.embedder.embedder."
PART = {"convolution": ("conv", "downsample.0"), "normalization": ("bn", "downsample.1")}
LAYER = re.compile(
    r"resnet\.encoder\.stages\.(\d{1,4})\.layers\.(\d{1,4})\.(?:layer\.(\d{1,4})|shortcut)"
    r"\.(\w+)\.(\w+)"
)
OURS = re.compile(r"layer(\d{1,4})\.(\d{1,4})\.(?:(conv|bn)(\d)|downsample\.([01]))\.(\w+)")


def is_huggingface(keys: Collection[str]) -> bool:
    """Whether the keys are those of Hugging Face's ResNet."""
    return STEM + "convolution.weight" in keys


def torchvision_name(key: str) -> str:
    """torchvision's name for a key; one that is no ResNet's stays as it is, and load_weights will name it."""
    if key.startswith(STEM):
        return key.removeprefix(STEM).replace("convolution", "conv1").replace("normalization", "bn1")
    found = LAYER.fullmatch(key)
    if not found or found[4] not in PART:
        return re.sub(r"^classifier\.1\.", "fc.", key)
    stage, block, layer, part, array = found.groups()
    branch, shortcut = PART[part]
    place = shortcut if layer is None else f"{branch}{int(layer) + 1}"
    return f"layer{int(stage) + 1}.{block}.{place}.{array}"


def huggingface_name(key: str) -> str:
    """The inverse of :func:`torchvision_name`."""
    fixed = {"conv1": STEM + "convolution", "bn1": STEM + "normalization", "fc": "classifier.1"}
    layer, _, array = key.partition(".")
    if layer in fixed:
        return f"{fixed[layer]}.{array}"
    found = OURS.fullmatch(key)
    if not found:
        raise WeightsError(f"Hugging Face's ResNet has no place for {key}")
    stage, block, kind, number, index, array = found.groups()
    parts = list(PART)
    place = f"shortcut.{parts[int(index)]}" if index else f"layer.{int(number) - 1}.{parts[kind == 'bn']}"
    return f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}.{place}.{array}"
