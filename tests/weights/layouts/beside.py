"""What lies beside the weights: objects of other classes, tensors, counters, statistics, losses."""

import argparse
import collections
import datetime
import pathlib
from dataclasses import dataclass

import numpy as np
import torch

from .kind import Layout, kind
from .nets import resnet
from .wrappers import prefixed, wrapped


@dataclass
class Settings:
    lr: float = 0.1
    milestones: tuple[int, ...] = (30, 60)


OBJECTS = {
    "argparse.Namespace": ("torchvision's references, timm", lambda: argparse.Namespace(lr=0.1, model="resnet18")),
    "np.float64": ("best_acc = np.mean(...)", lambda: np.float64(0.93)),
    "np.array": ("per-class accuracies", lambda: np.arange(4.0)),
    "Path": ("output_dir of a script", lambda: pathlib.PurePosixPath("runs/1")),
    "defaultdict": ("a history of losses", lambda: collections.defaultdict(list, loss=[0.1])),
    "datetime": ("the time of saving", lambda: datetime.datetime(2024, 1, 1)),
    "a loss module": ("criterion saved as a whole", torch.nn.CrossEntropyLoss),
    "float keys": ("learning rates by epoch", lambda: {0.5: 1e-3}),
    "tuple keys": ("a confusion matrix", lambda: {(0, 1): 3}),
    "a complex number": ("signal processing", lambda: 1j),
    "a set and bytes": ("seen files", lambda: {b"a.png", "b.png"}),
    "torch.device": ("the device of training", lambda: torch.device("cuda:0")),
    "torch.dtype and torch.Size": ("mixed precision settings", lambda: [torch.float16, torch.Size([3, 2])]),
    "Counter": ("class frequencies", lambda: collections.Counter(cat=3)),
    "a class of the script": ("dataclass settings", lambda: Settings()),
    "functools.partial": ("configurations", lambda: __import__("functools").partial(torch.nn.ReLU, inplace=True)),
}
for _name, (_source, _make) in OBJECTS.items():
    wrapped(f"beside: {_name}", _source, lambda state, make=_make: {"state_dict": state, "beside": make()})

TENSORS = {
    "best_acc1": ("pytorch/examples since 0.4", lambda: {"best_acc1": torch.tensor(71.3), "epoch": 90}),
    "acc, best_acc": (
        "bearpaw/pytorch-classification",
        lambda: {"acc": torch.tensor(9.0), "best_acc": torch.tensor(9.0)},
    ),
    "rng_state": ("resuming trainers", lambda: {"rng_state": torch.get_rng_state()}),
    "a queue of features": ("metric learning", lambda: {"memory": torch.randn(16, 40)}),
}
for _name, (_source, _make) in TENSORS.items():
    wrapped(f"beside: tensor {_name}", _source, lambda s, make=_make: {"state_dict": prefixed(s, "module."), **make()})

INSIDE = {
    "total_ops, total_params": (
        "thop",
        lambda s: {
            **s,
            "conv1.total_ops": torch.zeros(1),
            "layer1.total_params": torch.zeros(1),
            "total_ops": torch.ones(1),
        },
    ),
    "no counters": ("PyTorch before 0.4.1", lambda s: {k: v for k, v in s.items() if v.ndim}),
    "counters as floats": ("averaged checkpoints", lambda s: {k: v.float() for k, v in s.items()}),
    "counters of shape (1,)": ("converters", lambda s: {k: v.reshape(1) if v.ndim == 0 else v for k, v in s.items()}),
    "counters as int32": ("converters", lambda s: {k: v.int() if v.ndim == 0 else v for k, v in s.items()}),
    "normalisation constants": (
        "mean and std buffers of a wrapper",
        lambda s: {"mean": torch.rand(1, 3, 1, 1), "std": torch.rand(1, 3, 1, 1), **prefixed(s, "net.")},
    ),
    "loss weights": ("PyTorch Lightning", lambda s: {**prefixed(s, "model."), "criterion.weight": torch.ones(5)}),
    "metrics": (
        "torchmetrics in a LightningModule",
        lambda s: {
            **prefixed(s, "model."),
            "train_acc.tp": torch.zeros(5, dtype=torch.long),
            "val_auc.confmat": torch.zeros(7, 5, 2, 2, dtype=torch.long),
        },
    ),
    "normalizer and attacker": (
        "MadryLab/robustness",
        lambda s: {
            "module.normalizer.new_mean": torch.zeros(3, 1, 1),
            "module.normalizer.new_std": torch.ones(3, 1, 1),
            **prefixed(s, "module.model."),
            "module.attacker.normalize.new_mean": torch.zeros(3, 1, 1),
            **prefixed(s, "module.attacker.model."),
        },
    ),
    "center loss": (
        "person re-identification",
        lambda s: {**prefixed(s, "model."), "center_loss.centers": torch.rand(5, 64)},
    ),
    "_metadata and a version key": ("converters", lambda s: {**s, "version": torch.tensor([2])}),
}
for _name, (_source, _wrap) in INSIDE.items():
    wrapped(f"among the weights: {_name}", _source, _wrap)


@kind("everything halved", "{k: v.half()}: counters too")
def halved():
    net = resnet()
    state = {key: value.half() for key, value in net.state_dict().items()}
    net.load_state_dict({key: value.float() for key, value in state.items()})
    return Layout(net, state)


@kind(".npz with an epoch", "NumPy scripts")
def npz_epoch():
    net = resnet()
    return Layout(net, {"epoch": np.array(3), **net.state_dict()}, "net.npz")
