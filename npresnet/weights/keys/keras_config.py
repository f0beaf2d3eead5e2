"""Refuses a Keras model around a ResNet of Keras Applications whose configuration has layers that change the scores."""

import re
from collections.abc import Iterator
from typing import Any

from ...formats.errors import WeightsError, quoted
from ...formats.stream import parse_json

OWN = (
    "InputLayer",
    "ZeroPadding2D",
    "Conv2D",
    "BatchNormalization",
    "Activation",
    "ReLU",
    "MaxPooling2D",
    "Add",
    "Dense",
)
AROUND = ("Functional", "Model", "Sequential", "GlobalAveragePooling2D", "Flatten", "Softmax")
TRAINING = ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization")
AUGMENTATION = re.compile(r"Random\w+|MixUp|CutMix|RandAugment|AugMix")
MOST = 100_000  # layers


def check_keras_layers(config: str) -> None:
    """Raise WeightsError for a layer that a ResNet has not and a prediction passes through."""
    for kind, name in layers(parse_json(config, "the model's configuration")):
        if kind not in OWN + AROUND + TRAINING and not AUGMENTATION.fullmatch(kind):
            raise WeightsError(
                f"its layer {quoted(name)} is a {quoted(kind)}, which no ResNet of the family has; save the model "
                "without it"
            )


def layers(document: Any) -> Iterator[tuple[str, str]]:
    """(class, name) of every layer, also of models inside."""
    waiting, seen = [document], 0
    while waiting and seen < MOST:
        model = waiting.pop()
        config = model.get("config") if isinstance(model, dict) else None
        inside = config.get("layers") if isinstance(config, dict) else None
        for layer in inside if isinstance(inside, list) else ():
            seen += 1
            if isinstance(layer, dict) and isinstance(layer.get("class_name"), str):
                named = layer.get("config")
                yield layer["class_name"], str(named.get("name") if isinstance(named, dict) else "")[:100]
                waiting.append(layer)
