"""The dialects by name, what each was published for, and where one of its models differs from the others.

[M]  https://github.com/KaimingHe/deep-residual-networks, the authors' Caffe models
[K]  https://github.com/keras-team/keras, keras/src/applications/resnet.py and resnet_v2.py
[T]  https://github.com/huggingface/pytorch-image-models, timm/models/resnet.py
[HF] https://github.com/huggingface/transformers, models/resnet/modeling_resnet.py
"""

from dataclasses import replace
from typing import Any

from .dialect_rules import SIZES
from .dialects import Dialect

KERAS_DEFAULTS = {"eps": 1e-3, "momentum": 0.01, "padding": "same", "pool": "same"}  # of Keras's layers

DIALECTS = {
    d.name: d
    for d in (
        Dialect(),
        Dialect("paper", stride_on="1x1"),
        Dialect("caffe", stride_on="1x1", pool="ceil", preprocessing="caffe"),  # [M]
        # Keras pads its pooling with zeros: behind a ReLU that is what −∞ gives.  Its moving variance is biased.
        Dialect(
            "keras",
            stride_on="1x1",
            conv_bias=True,
            eps=1.001e-5,
            momentum=0.01,
            unbiased=False,
            softmax=True,
            preprocessing="caffe",
        ),  # [K]
        Dialect("timm", preprocessing="timm"),  # [T]
        Dialect("huggingface", preprocessing="huggingface"),  # [HF]
        Dialect("keras-tutorial-a", **KERAS_DEFAULTS),
        Dialect(
            "keras-tutorial-b", **KERAS_DEFAULTS, conv_bias=True, stem="pool-first", relu_before_sum=True, softmax=True
        ),
        Dialect("pytorch-tutorial"),
    )
}

IMAGENET = tuple(f"resnet{d}" for d in (18, 34, 50, 101, 152))
BOTTLENECKS = IMAGENET[2:]
KERAS_V2 = tuple(f"preresnet{d}" for d in (50, 101, 152))
WIDE = ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2")

PUBLISHED_FOR = {  # torchvision's and the paper's details fit every model
    "caffe": IMAGENET,
    "keras": BOTTLENECKS + KERAS_V2,
    "timm": IMAGENET + WIDE,
    "huggingface": IMAGENET,
    "keras-tutorial-a": BOTTLENECKS,
    "keras-tutorial-b": IMAGENET,
    "pytorch-tutorial": IMAGENET[1:],
}

PARTICULAR = {  # (dialect, model) → details that only this model has
    ("caffe", "resnet50"): {"stem_bias": True},  # [M] ResNet-50-deploy.prototxt, conv1
    ("pytorch-tutorial", "resnet34"): {"conv_bias": True, "shortcut": "B-leading"},
    **{
        ("keras", name): {
            "stride_on": "3x3",
            "conv_bias": False,
            "bare_bias": True,
            "stem": "bare",
            "pool": "zeros",
            "stride_in": "last",
            "preprocessing": "tf",
        }
        for name in KERAS_V2
    },
}


def details(model: str, dialect: str, **options: Any) -> Dialect:
    """How ``dialect`` builds ``model``, with some details changed by ``options``; sizes among these are passed over.

    Raises ValueError where the dialect is unknown or was never published for such a model.
    """
    if not isinstance(dialect, str) or dialect not in DIALECTS:
        raise ValueError(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    published = PUBLISHED_FOR.get(dialect)
    if published is not None and model not in published:
        raise ValueError(
            f"there is no {model} in the dialect {dialect!r}, only {', '.join(published)}; "
            'build it with dialect="torchvision" and change single details by their names'
        )
    changed = {name: value for name, value in options.items() if name not in SIZES}
    return replace(DIALECTS[dialect], **PARTICULAR.get((dialect, model), {})).replace(**changed)
