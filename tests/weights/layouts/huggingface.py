"""Folders of transformers and timm: config.json, weights in one file or in shards, and what the configuration says."""

import json

import torch
from safetensors.torch import save_file

from .imagenet_projects import renamed
from .kind import Layout, kind
from .nets import Net, lively, resnet

NAMES = (
    (r"^conv1\.", "resnet.embedder.embedder.convolution."),
    (r"^bn1\.", "resnet.embedder.embedder.normalization."),
    (r"^layer(\d)\.(\d)\.", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."),
    (r"(layers\.\d)\.conv(\d)\.", lambda m: f"{m[1]}.layer.{int(m[2]) - 1}.convolution."),
    (r"(layers\.\d)\.bn(\d)\.", lambda m: f"{m[1]}.layer.{int(m[2]) - 1}.normalization."),
    (r"downsample\.0\.", "shortcut.convolution."),
    (r"downsample\.1\.", "shortcut.normalization."),
    (r"^fc\.", "classifier.1."),
)


def config(net_options, **more):
    depths, bottleneck = net_options.get("depths", (1, 1, 1, 1)), net_options.get("bottleneck", False)
    return {
        "architectures": ["ResNetForImageClassification"], "model_type": "resnet", "num_channels": 3,
        "embedding_size": 8,
        "hidden_sizes": [8 * 2**n * (4 if bottleneck else 1) for n in range(4)], "depths": list(depths),
        "layer_type": "bottleneck" if bottleneck else "basic", "hidden_act": "relu", "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False, "id2label": {str(i): f"name {i}" for i in range(5)}, **more,
    }


def folder_of(folder, net, settings, state=None, shards=1, file="model.safetensors"):
    """Write config.json and the weights; returns the folder."""
    state = renamed(net.state_dict(), *NAMES) if state is None else state
    if settings is not None:
        (folder / "config.json").write_text(json.dumps(settings))
    if file.endswith(".bin"):
        torch.save(state, folder / file)
    elif shards == 1:
        save_file(state, folder / file, metadata={"format": "pt"})
    else:
        weight_map = {key: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, key in enumerate(state)}
        for name in set(weight_map.values()):
            save_file(
                {k: v for k, v in state.items() if weight_map[k] == name}, folder / name, metadata={"format": "pt"}
            )
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


HF = "transformers, save_pretrained"


@kind("Hugging Face: the folder", HF)
def whole_folder(folder):
    net = resnet()
    return Layout(net, file=folder_of(folder, net, config({})))


@kind("Hugging Face: pytorch_model.bin in a folder", HF)
def binary(folder):
    net = resnet(bottleneck=True)
    return Layout(net, file=folder_of(folder, net, config({"bottleneck": True}), file="pytorch_model.bin"))


@kind("Hugging Face: model.safetensors beside config.json", HF)
def beside(folder):
    net = resnet(bottleneck=True)
    return Layout(net, file=folder_of(folder, net, config({"bottleneck": True})) / "model.safetensors")


@kind("Hugging Face: model.safetensors alone", "a file copied from the hub")
def alone(folder):
    net = resnet(bottleneck=True)
    return Layout(net, file=folder_of(folder, net, None) / "model.safetensors", note="1x1")


@kind("Hugging Face: shards with an index", HF)
def shards(folder):
    net = resnet(depths=(2, 1, 1, 1))
    return Layout(net, file=folder_of(folder, net, config({"depths": (2, 1, 1, 1)}), shards=3))


@kind("Hugging Face: the index of shards", HF)
def index(folder):
    net = resnet()
    return Layout(net, file=folder_of(folder, net, config({}), shards=2) / "model.safetensors.index.json")


@kind("Hugging Face: one shard of two", "an incomplete download")
def one_shard(folder):
    net = resnet()
    path = folder_of(folder, net, None, shards=2)
    (path / "model.safetensors.index.json").unlink()
    return Layout(file=path / "model-00001-of-00002.safetensors", refusal=r"(?i)\bshards?\b|incomplete|\bindex\b")


@kind("Hugging Face: downsample_in_bottleneck", "microsoft/resnet-50 v1 variants: the configuration says so")
def downsample_in_bottleneck(folder):
    net = resnet(bottleneck=True, stride_on="1x1")
    return Layout(net, file=folder_of(folder, net, config({"bottleneck": True}, downsample_in_bottleneck=True)))


@kind("Hugging Face: hidden_act gelu", "the configuration says so")
def gelu(folder):
    net = resnet(act=torch.nn.GELU, inner=torch.nn.ReLU)  # a branch keeps its ReLU, whatever hidden_act says
    return Layout(net, file=folder_of(folder, net, config({}, hidden_act="gelu")))


@kind("Hugging Face: ResNetModel, no classifier", "AutoModel")
def base_model(folder):
    net = resnet()
    state = {
        k.removeprefix("resnet."): v for k, v in renamed(net.state_dict(), *NAMES).items() if not k.startswith("class")
    }
    return Layout(net, file=folder_of(folder, net, config({}), state), features=True)


@kind("Hugging Face: ResNetBackbone inside a detector", "DETR's backbone")
def detr(folder):
    net = resnet(bottleneck=True)
    state = {
        f"model.backbone.conv_encoder.model.{k}": v for k, v in net.state_dict().items() if v.ndim and k[:3] != "fc."
    }
    state |= {"model.input_projection.weight": torch.randn(16, 256, 1, 1),
              "model.input_projection.bias": torch.randn(16),
              "class_labels_classifier.weight": torch.randn(4, 16), "class_labels_classifier.bias": torch.randn(4)}
    path = folder_of(folder, net, {"model_type": "detr", "architectures": ["DetrForObjectDetection"]}, state)
    return Layout(net, file=path, features=True, note=r"(?i)set aside|left out", refusal=r"(?i)detr|detection")


def timm_config(name, **more):
    return {"architecture": name, "num_classes": 5, "num_features": 64, "pretrained_cfg": {"input_size": [3, 64, 64],
            "interpolation": "bicubic", "crop_pct": 0.95, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], **more}}


@kind("timm: the folder", "huggingface/pytorch-image-models on the hub")
def timm_folder(folder):
    net = resnet(depths=(2, 2, 2, 2))
    return Layout(net, file=folder_of(folder, net, timm_config("resnet18"), net.state_dict()))


class Averaging(Net):
    """timm's resnetaa: each strided convolution has stride 1, and average pooling follows; the stem pools so too."""

    def __init__(self, **options):
        super().__init__(**options)
        self.maxpool = torch.nn.AvgPool2d(2)
        for stage in (self.layer2, self.layer3, self.layer4):
            stage[0].conv1.stride, stage[0].forward = (1, 1), self.block(stage[0])

    @staticmethod
    def block(block):
        def forward(x):
            y = torch.nn.functional.avg_pool2d(block.relu(block.bn1(block.conv1(x))), 2)
            return block.relu(block.bn2(block.conv2(y)) + block.downsample(x))

        return forward


@kind("timm: anti-aliased by averaging, as config.json says", "timm resnetaa18-like")
def timm_aa(folder):
    net = lively(Averaging(depths=(2, 2, 2, 2)))
    return Layout(
        net,
        file=folder_of(folder, net, timm_config("resnetaa18"), net.state_dict()),
        refusal=r"(?i)anti-?alias|resnetaa",
    )
