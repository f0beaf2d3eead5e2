"""The recipes of publications for ResNet-50 on ImageNet: what each field is there, and what differs here.

Their learning rates belong to their batches.  For another batch of SGD multiply the rate by batch / published batch [G]
§2.1, for LAMB by the square root of that [Y].  ``accumulate`` computes a large batch in parts, in little memory.

[R1]  He et al. 2015, Deep residual learning for image recognition, arXiv:1512.03385, §3.4
[G]   Goyal et al. 2017, Accurate, large minibatch SGD, arXiv:1706.02677
[V1]  torchvision, references/classification/train.py with its defaults on 8 GPUs (weights IMAGENET1K_V1)
[V2]  torchvision, the command in the README of that folder (weights IMAGENET1K_V2)
[W]   Wightman, Touvron & Jégou 2021, ResNet strikes back, arXiv:2110.00476, Table 2, and timm
[Y]   You et al. 2019, Large batch optimization for deep learning, arXiv:1904.00962
"""

from collections.abc import Mapping
from typing import Any

PUBLISHED: dict[str, dict[str, Any]] = {  # {name: the fields whose defaults it changes}
    "paper-imagenet": {  # [R1] §3.4: 600k iterations of 256
        "epochs": 120,
        "batch_size": 256,
        "lr": 0.1,
        "schedule": "quarters",
        "augment": "scale",
        "held_out": 0.0,
    },
    "torchvision-v1": {  # [V1]: 8 GPUs of 32 images; divided by 10 every 30 epochs
        "epochs": 90,
        "batch_size": 256,
        "lr": 0.1,
        "schedule": "thirds",
        "augment": "photo",
        "held_out": 0.0,
    },
    "torchvision-v2": {  # [V2]: 8 GPUs of 128 images
        "epochs": 600,
        "batch_size": 1024,
        "lr": 0.5,
        "schedule": "cosine",
        "warmup": 5.0,
        "warmup_start": 0.01,
        "weight_decay": 2e-5,
        "decay_all": False,
        "label_smoothing": 0.1,
        "mixup": 0.2,
        "cutmix": 1.0,
        "average": 0.99997,  # 0.99998 every 32 steps there, its distance to 1 times batch · 32 / epochs
        "augment": "photo",
        "train_side": 176,
        "policy": "trivial",
        "erase": 0.1,
        "preprocessing": "imagenet-v2",
        "held_out": 0.0,
    },
    "timm-a3": {  # [W] Table 2, A3
        "epochs": 100,
        "batch_size": 2048,
        "lr": 0.008,
        "schedule": "cosine",
        "warmup": 5.0,
        "warmup_start": 0.0125,  # from 1e-4, as in timm
        "optimizer": "lamb",
        "clip": 1.0,  # timm's LAMB divides by the gradient's norm where that exceeds 1
        "weight_decay": 0.02,
        "decay_all": False,
        "loss": "binary",
        "mixup": 0.1,
        "cutmix": 1.0,
        "augment": "photo",
        "train_side": 160,
        "policy": "rand",
        "preprocessing": "timm",
        "held_out": 0.0,
    },
}
DIFFERS = {  # what a recipe does otherwise than its publication
    "paper-imagenet": "the paper divides the rate when the error plateaus, here after each quarter of the run; its "
    "colour noise is left out",
    "torchvision-v1": "the random crop of an image that no try fits takes the whole image, not its centre",
    "torchvision-v2": "without repeated augmentation, which shows each image four times in a row; the cosine begins "
    "with the warmup and moves every step, there after it and every epoch; the average takes every step; the last "
    "layer's bias is not decayed either",
    "timm-a3": "photos are resized and RandAugment turns them bilinearly, there by a filter drawn at random",
}


def notes_on(name: str, changed: Mapping[str, Any]) -> list[str]:
    """Lines for a person who trains with the recipe ``name`` and these values of its fields; none for other recipes."""
    if name not in PUBLISHED:
        return []
    lines, known = [f"otherwise than published: {DIFFERS[name]}"], PUBLISHED[name]
    factor = changed["batch_size"] / known["batch_size"]
    if factor != 1 and changed["lr"] == known["lr"]:
        rate = known["lr"] * (factor if changed["optimizer"] != "lamb" else factor**0.5)
        lines.append(f"the rate {known['lr']:g} is for batches of {known['batch_size']}: for these take {rate:.2g}")
    return lines
