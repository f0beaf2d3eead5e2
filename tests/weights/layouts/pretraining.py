"""Self-supervised, contrastive and distilled networks: trunks beside projection heads, queues, prototypes."""

from itertools import pairwise

import torch
from torch import nn

from .imagenet_projects import trunk
from .kind import Layout, add, kind
from .nets import resnet
from .wrappers import prefixed

ASIDE = r"(?i)set aside|left out|beside"


def mlp(sizes, prefix, norms=False, numbers=None):
    """The state of a projection head: linear layers under even numbers, and norms after all but the last."""
    layers = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o), nn.BatchNorm1d(o) if norms else nn.Identity(), nn.ReLU()]
    return prefixed(nn.Sequential(*layers[:-2]).state_dict(), prefix)


def tree_of(name, source, make, **expected):
    """A kind whose right answer is the trunk's pooled features; ``make(net)`` is what is saved."""

    def layout():
        net = resnet()
        return Layout(net, make(net), **{"features": True, "note": ASIDE, **expected})

    add(name, source, layout)


def dino(net):
    head = {
        **mlp((64, 32, 32, 16), "mlp."),
        "last_layer.weight_g": torch.ones(40, 1),
        "last_layer.weight_v": torch.randn(40, 16),
    }
    return {**prefixed(trunk(net.state_dict()), "backbone."), **prefixed(head, "head.")}


tree_of("DINO: student and teacher with heads", "facebookresearch/dino",
        lambda net: {"student": prefixed(dino(net), "module."), "teacher": dino(resnet()), "epoch": 9,
                     "dino_loss": {"center": torch.zeros(1, 40)}}, note="teacher")
tree_of("DINO: the trunk alone", "facebookresearch/dino, published files", lambda net: trunk(net.state_dict()), note="")
tree_of("MoCo v2: encoder_q, encoder_k, queue", "facebookresearch/moco",
        lambda net: {"arch": "resnet50", "state_dict": prefixed(
            {**prefixed({**trunk(net.state_dict()), **mlp((64, 64, 16), "fc.")}, "encoder_q."),
             **prefixed({**trunk(resnet().state_dict()), **mlp((64, 64, 16), "fc.")}, "encoder_k."),
             "queue": torch.randn(16, 64), "queue_ptr": torch.zeros(1, dtype=torch.long)}, "module.")})
tree_of("MoCo v3: base_encoder and momentum_encoder", "facebookresearch/moco-v3",
        lambda net: {"state_dict": {
            **prefixed({**trunk(net.state_dict()), **mlp((64, 64, 16), "fc.", True)}, "module.base_encoder."),
            **prefixed({**trunk(resnet().state_dict()), **mlp((64, 64, 16), "fc.", True)}, "module.momentum_encoder."),
            **mlp((16, 32, 16), "module.predictor.", True)}})
tree_of("SimCLR: backbone with fc.0 and fc.2", "sthalles/SimCLR",
        lambda net: {"epoch": 100, "arch": "resnet18", "optimizer": {},
                     "state_dict": prefixed({**trunk(net.state_dict()), **mlp((64, 64, 16), "fc.")}, "backbone.")})
tree_of("SimCLR: encoder and projector", "Spijkervet/SimCLR",
        lambda net: {**prefixed(trunk(net.state_dict()), "encoder."), "projector.0.weight": torch.randn(64, 64),
                     "projector.2.weight": torch.randn(16, 64)})
tree_of("SimSiam: encoder.fc of three layers, predictor", "facebookresearch/simsiam",
        lambda net: {"state_dict": prefixed({**prefixed(
                     {**trunk(net.state_dict()), **mlp((64, 64, 64, 32), "fc.", True)},
                     "encoder."), **mlp((32, 8, 32), "predictor.", True)}, "module.")})
tree_of("SwAV: projection_head and prototypes", "facebookresearch/swav",
        lambda net: {"state_dict": prefixed({**trunk(net.state_dict()), **mlp((64, 64, 16), "projection_head.", True),
                     "prototypes.weight": torch.randn(30, 16)}, "module.")})
tree_of("SupContrast: encoder and head", "HobbitLong/SupContrast",
        lambda net: {"opt": None, "model": {**prefixed(trunk(net.state_dict()), "encoder.module."),
                     **mlp((64, 64, 16), "head.")}, "optimizer": {}, "epoch": 1000})
tree_of("BYOL: online and target networks", "yaox12/BYOL-PyTorch",
        lambda net: {"online_network": {**prefixed(nn.Sequential(*list(net.children())[:-1]).state_dict(), "encoder."),
                     **mlp((64, 64, 16), "projection.net.", True)}, "target_network":
                     prefixed(nn.Sequential(*list(resnet().children())[:-1]).state_dict(), "encoder.")})
tree_of("lightly: backbone numbered, projection_head.layers", "lightly-ai/lightly",
        lambda net: {**prefixed(nn.Sequential(*list(net.children())[:-1]).state_dict(), "backbone."),
                     **mlp((64, 64, 16), "projection_head.layers.", True)})
tree_of("Barlow Twins: backbone, projector, bn", "facebookresearch/barlowtwins",
        lambda net: {"epoch": 1, "model": prefixed({**prefixed(trunk(net.state_dict()), "backbone."),
                     **mlp((64, 64, 64), "projector.", True), "bn.running_mean": torch.zeros(64),
                     "bn.running_var": torch.ones(64), "bn.num_batches_tracked": torch.tensor(3)}, "module.")})
tree_of("VICReg: the trunk alone under prefix 'backbone.'", "facebookresearch/vicreg",
        lambda net: {"model": prefixed(trunk(net.state_dict()), "module.backbone.")}, note="")
tree_of("solo-learn: backbone, projector, classifier", "vturrisi/solo-learn",
        lambda net: {"state_dict": {**prefixed(trunk(net.state_dict()), "backbone."), **prefixed(
            {"weight": net.fc.weight, "bias": net.fc.bias}, "classifier."), **mlp((64, 64, 16), "projector.", True)}},
        features=False)
tree_of("segmentation_models.pytorch: encoder and decoder", "qubvel/segmentation_models.pytorch",
        lambda net: {**prefixed(trunk(net.state_dict()), "encoder."),
                     "decoder.blocks.0.conv1.0.weight": torch.randn(8, 96, 3, 3),
                     "segmentation_head.0.weight": torch.randn(2, 8, 3, 3), "segmentation_head.0.bias": torch.randn(2)},
        refusal="(?i)segmentation|decoder")
tree_of("torchvision DeepLab: backbone and classifier of convolutions", "torchvision.models.segmentation",
        lambda net: {**prefixed(trunk(net.state_dict()), "backbone."),
                     "classifier.0.convs.0.0.weight": torch.randn(8, 64, 1, 1),
                     "classifier.4.weight": torch.randn(5, 8, 1, 1), "classifier.4.bias": torch.randn(5)},
        refusal="(?i)segmentation|classifier")


@kind("MoCo v1: encoder_q.fc is one layer", "facebookresearch/moco")
def moco_v1():
    net, other = resnet(classes=16), resnet(classes=16)
    state = {**prefixed(net.state_dict(), "module.encoder_q."), **prefixed(other.state_dict(), "module.encoder_k."),
             "module.queue": torch.randn(16, 64), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return Layout(net, {"state_dict": state}, note=ASIDE)


@kind("student and teacher in one state dict", "mean teacher, semi-supervised learning")
def mean_teacher():
    student, teacher = resnet(), resnet()
    state = {**prefixed(student.state_dict(), "student."), **prefixed(teacher.state_dict(), "teacher.")}
    return Layout(student, state, note="teacher")


@kind("two networks of equal right: model1 and model2", "co-teaching, ensembles")
def two_networks():
    tree = {"model1": resnet().state_dict(), "model2": resnet().state_dict()}
    return Layout(tree=tree, refusal=r"(?i)\btwo\b|several|select|choose|--")


@kind("five folds", "cross-validation")
def folds():
    return Layout(tree=[resnet().state_dict() for _ in range(5)], refusal=r"(?i)several|five|\b5\b|select")


@kind("a ResNet and a smaller head network", "knowledge distillation with an adapter")
def adapter():
    net = resnet()
    return Layout(net, {"model": net.state_dict(), "adapter": nn.Conv2d(64, 32, 1).state_dict()})


@kind("a GAN's two networks, one of them a ResNet", "discriminators")
def gan_and_resnet():
    net = resnet()
    generator = nn.Sequential(nn.ConvTranspose2d(16, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4))
    return Layout(net, {"generator": generator.state_dict(), "classifier": net.state_dict()})
