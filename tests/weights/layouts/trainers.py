"""Checkpoints of training frameworks, with all that they keep beside the weights."""

from collections import OrderedDict

import torch

from .kind import Layout, add, kind
from .nets import resnet
from .wrappers import prefixed


class AttributeDict(dict):
    """A dictionary whose class is not a plain one, as hyperparameters are kept."""


class Callback:
    """An object of the trainer's."""

    def __init__(self):
        self.best, self.history = 0.9, [0.1, 0.2]


def moments(state):
    """Adam's state: two arrays of a parameter's shape for each."""
    weights = [v for k, v in state.items() if v.is_floating_point() and "running" not in k]
    return {
        "state": {
            i: {"step": torch.tensor(9.0), "exp_avg": v.clone(), "exp_avg_sq": v.abs()} for i, v in enumerate(weights)
        },
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": list(range(len(weights)))}],
    }


def by_name(state):
    """An optimizer whose state is kept by the parameters' names, as FSDP and Composer write it."""
    return {
        "state": {k: {"exp_avg": v.clone(), "exp_avg_sq": v.abs()} for k, v in state.items() if v.ndim},
        "param_groups": [],
    }


def of(name, source, make, **expected):
    def layout():
        net = resnet()
        return Layout(net, make(net.state_dict()), **expected)

    add(name, source, layout)


of("PyTorch Lightning checkpoint", "Lightning-AI/pytorch-lightning",
   lambda s: {"epoch": 9, "global_step": 900, "pytorch-lightning_version": "2.1.0", "state_dict": prefixed(s, "model."),
              "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {
                  "best_model_score": torch.tensor(0.4), "best_k_models": {}}}, "optimizer_states": [moments(s)],
              "lr_schedulers": [{"last_epoch": 9}], "hparams_name": "kwargs",
              "hyper_parameters": AttributeDict(lr=0.1)})
of("Lightning with an EMA in the callbacks", "Lightning-AI/pytorch-lightning",
   lambda s: {"state_dict": prefixed(s, "net."), "callbacks":
              {"EMA": {"ema_weights": [v.clone() for v in s.values()]}}})
of(
    "fastai learner's model and optimizer",
    "fastai: learn.save",
    lambda s: {"model": s, "opt": {"state": [], "hypers": [{"lr": 1}]}},
)
of("Catalyst", "catalyst-team/catalyst",
   lambda s: {"model_state_dict": s, "criterion_state_dict": OrderedDict(), "optimizer_state_dict": moments(s),
              "epoch_metrics": {"valid": {"loss": 0.3}}, "stage_key": "train"})
of(
    "Ignite",
    "pytorch/ignite: to_save",
    lambda s: {"trainer": {"epoch_length": 9, "max_epochs": 3}, "model": s, "optimizer": moments(s)},
)
of("Composer with a named optimizer", "MosaicML Composer",
   lambda s: {"state": {"model": prefixed(s, "module."), "optimizers": {"DecoupledSGDW": by_name(s)},
                        "run_name": "x", "integrations": {}}, "rng": [{"numpy": (1, 2)}]})
of(
    "FSDP full state",
    "torch.distributed.fsdp",
    lambda s: {"model": prefixed(s, "_fsdp_wrapped_module."), "optim": by_name(s)},
)
of("FSDP prefixes inside names", "torch.distributed.fsdp",
   lambda s: {"_fsdp_wrapped_module." + k.replace("layer1.0.", "layer1.0._fsdp_wrapped_module."): v
              for k, v in s.items()})
of("activation checkpointing inside names", "torch.distributed.algorithms",
   lambda s: {k.replace("layer2.", "layer2._checkpoint_wrapped_module."): v for k, v in s.items()})
of("torch.compile of the stages alone", "torch.compile(net.layer1)",
   lambda s: {k.replace("layer1.", "layer1._orig_mod."): v for k, v in s.items()})
of("DeepSpeed", "microsoft/DeepSpeed",
   lambda s: {"module": s, "buffer_names": ["bn1.running_mean"], "optimizer": None, "param_shapes": [OrderedDict(
       (k, v.shape) for k, v in s.items())], "ds_config": {"fp16": {"enabled": True}}, "ds_version": "0.9"})
of("Accelerate's model.safetensors", "huggingface/accelerate", lambda s: s, file="model.safetensors")
of("torchvision's references", "pytorch/vision, references/classification",
   lambda s: {"model": s, "optimizer": moments(s), "lr_scheduler": {"_last_lr": [0.1]}, "epoch": 3, "args": Callback(),
              "scaler": {"scale": 65536.0}})
of("apex", "NVIDIA/apex", lambda s: {"model": prefixed(s, "module.1."), "amp": {"loss_scaler0": {"loss_scale": 1.0}}})
of("callbacks as objects", "trainers with plug-ins", lambda s: {"model": s, "callbacks": [Callback(), Callback()]})
of(
    "a long log beside the weights",
    "scripts",
    lambda s: {"log": [{"step": i, "loss": i / 7} for i in range(1000)], "net": s},
)
of("MMEngine", "open-mmlab/mmengine",
   lambda s: {"meta": {"cfg": "model = dict(...)", "epoch": 1}, "state_dict": s, "message_hub": Callback(),
              "optimizer": moments(s),
              "ema_state_dict": {"steps": torch.tensor(9), **prefixed(s, "module.")}}, note="ema_state_dict")
of("federated server", "adap/flower, FedML", lambda s: {"round": 12, "global_model": s, "client_weights": [0.5, 0.5]})
of("PaddleClas", "PaddlePaddle/PaddleClas .pdparams",
   lambda s: {"StructuredToParameterName@@": {k: k for k in s}, **{
       k.replace("running_mean", "_mean").replace("running_var", "_variance"): v.T.numpy()
       if k == "fc.weight" else v.numpy() for k, v in s.items() if v.ndim}}, file="net.pdparams")
of(
    "Opacus",
    "pytorch/opacus",
    lambda s: {"module_state_dict": prefixed(s, "_module."), "privacy_accountant_state_dict": {"h": []}},
)
of(
    "Ray Train",
    "ray-project/ray",
    lambda s: {"epoch": 1, "model_state": prefixed(s, "module."), "loss": torch.tensor(0.1)},
)
of("skorch", "skorch-dev/skorch: save_params", lambda s: OrderedDict(s))
of(
    "tensors on Parameters of an old wrapper",
    "pre-1.0 scripts",
    lambda s: {"model": OrderedDict(prefixed(s, "module.module."))},
)


@kind("raw weights beside an average as a list", "lucidrains, score models: shadow_params")
def shadow():
    net, average = resnet(), resnet()
    tree = {"model": net.state_dict(), "ema": {"decay": 0.999, "shadow_params": [p.data for p in average.parameters()]}}
    return Layout(net, tree, note="ema")


@kind("an optimizer's moments by name and the weights in one dictionary", "JAX-like trainers")
def by_name_beside():
    net = resnet()
    state = net.state_dict()
    tree = {**{f"exp_avg.{k}": v * 0.01 for k, v in state.items() if v.ndim}, **prefixed(state, "params.")}
    return Layout(net, tree, note=r"exp_avg")
