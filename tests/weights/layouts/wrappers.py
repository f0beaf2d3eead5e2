"""Where the state dict lies in a checkpoint: wrapper keys, tuples, prefixes, moving averages."""

from collections import OrderedDict

import torch

from .kind import Layout, add, kind
from .nets import resnet


def prefixed(state, prefix):
    return OrderedDict((prefix + key, value) for key, value in state.items())


def wrapped(name, source, wrap, **expected):
    """A kind whose file holds ``wrap(state dict)``."""

    def make():
        net = resnet()
        return Layout(net, wrap(net.state_dict()), **expected)

    add(name, source, make)


TREES = {  # key under which the state dict lies: who writes it
    "state_dict": "pytorch/examples imagenet, OpenMMLab, PyTorch Lightning",
    "model_state_dict": "PyTorch's tutorial on saving and loading",
    "model": "torchvision's references, DeiT, timm's pretraining",
    "net": "kuangliu/pytorch-cifar",
    "network": "RL and GAN repositories",
    "model_state": "scikit-learn-like trainers, YOLACT",
    "net_state_dict": "fine-grained classification baselines",
    "model_weights": "tutorials",
    "weights": "tutorials",
    "params": "BasicSR",
    "params_ema": "BasicSR with an exponential average alone",
    "teacher": "knowledge distillation, DINO",
    "student": "knowledge distillation, DINO",
    "module": "DeepSpeed's mp_rank_00_model_states.pt",
    "backbone": "face recognition repositories",
    "encoder": "contrastive learning repositories",
    "ema": "Ultralytics-like trainers, with no raw weights",
    "state_dict_ema": "timm, with no raw weights",
    "model_ema": "torchvision's references, with no raw weights",
    "generator": "checkpoints of several parts",
    "模型": "checkpoints with Chinese keys",
}
for _key, _source in TREES.items():
    wrapped(f"under {_key!r}", _source, lambda state, key=_key: {"epoch": 3, key: state})

wrapped("state -> model", "MosaicML Composer", lambda state: {"state": {"model": state}, "rng": []})
wrapped(
    "classy_state_dict -> base_model -> model -> trunk",
    "VISSL",
    lambda state: {
        "classy_state_dict": {
            "base_model": {"model": {"trunk": prefixed(state, "base_model._feature_blocks."), "heads": {}}}
        }
    },
)
wrapped("(state_dict, accuracy)", "a tuple, scripts for Kaggle", lambda state: (state, 0.9))
wrapped("[state_dict, optimizer, epoch]", "a list, scripts", lambda state: [state, {"lr": 0.1}, 7])
wrapped(
    "an empty 'state_dict' beside 'model'", "trainers with plug-ins", lambda state: {"state_dict": {}, "model": state}
)
wrapped("five dictionaries deep", "federated learning", lambda s: {"a": {"b": {"c": {"d": {"e": s}}}}})
wrapped("one per fold, the first alone", "cross-validation", lambda state: {"folds": [{"fold": 0, "weights": state}]})
wrapped(
    "torch.optim beside it",
    "pytorch/examples imagenet",
    lambda state: {
        "epoch": 4,
        "arch": "resnet18",
        "state_dict": prefixed(state, "module."),
        "best_acc1": torch.tensor(71.3),
        "optimizer": {
            "state": {i: {"momentum_buffer": v.clone()} for i, v in enumerate(state.values())},
            "param_groups": [{"lr": 0.1, "params": list(range(len(state)))}],
        },
        "scheduler": {"last_epoch": 3},
    },
)

PREFIXES = {
    "module.": "DataParallel, DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "PyTorch Lightning, robustness",
    "module._orig_mod.": "torch.compile inside DistributedDataParallel",
    "_orig_mod.module.": "DistributedDataParallel inside torch.compile",
    "net.": "Lightning templates",
    "resnet.": "classes around a torchvision network",
    "backbone.": "OpenMMLab without a head of its own, torchreid",
    "encoder.": "U-Nets and contrastive learning",
    "network.": "reinforcement learning",
    "timm_model.": "classes around timm",
    "_module.": "Opacus",
    "_fsdp_wrapped_module.": "FullyShardedDataParallel",
    "feature_extractor.": "Lightning's transfer learning",
    "learner.net.": "BYOL of lucidrains",
    "encoder.module.": "SupContrast",
    "1.": "Sequential(Normalize, net)",
    "model.model.model.": "wrappers in wrappers",
    "base_model.model.": "PEFT",
    "特征.": "attributes in Chinese",
    "net/": "slashes from a converter",
    "resnet:": "colons from a converter",
}
for _prefix, _source in PREFIXES.items():
    wrapped(f"prefix {_prefix!r}", _source, lambda state, prefix=_prefix: prefixed(state, prefix))


@kind("AveragedModel", "torch.optim.swa_utils")
def averaged():
    net = resnet()
    return Layout(net, torch.optim.swa_utils.AveragedModel(net).state_dict())


@kind("raw weights and their average", "timm: state_dict and state_dict_ema")
def raw_and_ema():
    net, average = resnet(), resnet()
    tree = {"arch": "resnet10t", "state_dict": net.state_dict(), "state_dict_ema": average.state_dict(), "metric": 70.1}
    return Layout(net, tree, note="state_dict_ema")


@kind("model and model_ema", "torchvision's references")
def model_and_ema():
    net, average = resnet(), resnet()
    tree = {"model": net.state_dict(), "model_ema": torch.optim.swa_utils.AveragedModel(average).state_dict()}
    return Layout(net, tree, note="model_ema")
