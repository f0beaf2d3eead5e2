"""Names and axes of other frameworks: flax, haiku, TensorFlow, MXNet, Caffe, Paddle, MATLAB, mostly in .npz."""

import re

import numpy as np
from torch import nn

from .imagenet_projects import renamed
from .kind import Layout, add, kind
from .nets import resnet

BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(.*)")


def arrays(net, name, counters=False):
    """The state by ``name(layer, part)``: layer is (stage, block, kind, number), conv1, bn1 or fc."""
    out = {}
    for key, value in net.state_dict().items():
        if value.ndim == 0 and not counters:
            continue
        found = BLOCK.fullmatch(key)
        layer, part = key.rsplit(".", 1)
        if found:
            s, b, kind_, number, part = found.groups()
            kind_ = {"conv": "conv", "bn": "bn", "downsample.": "shortcut" if number == "0" else "shortcut_bn"}[kind_]
            layer = (int(s), int(b), kind_, int(number))
        out[name(layer, part)] = value.numpy()
    return out


def hwio(tree):
    """Kernels height, width, in, out; dense kernels in, out."""
    return {k: v.transpose(2, 3, 1, 0) if v.ndim == 4 else v.T if v.ndim == 2 else v for k, v in tree.items()}


def is_norm(layer):
    return layer == "bn1" or (isinstance(layer, tuple) and "bn" in layer[2])


def flax_name(depths):
    def name(layer, part):
        norm = is_norm(layer)
        leaf = {"running_mean": "mean", "running_var": "var", "weight": "scale" if norm else "kernel", "bias": "bias"}[
            part
        ]
        root = "batch_stats" if part.startswith("running") else "params"
        if isinstance(layer, str):
            place = {"conv1": "conv_init", "bn1": "bn_init", "fc": "Dense_0"}[layer]
        else:
            s, b, what, n = layer
            inner = {
                "conv": f"Conv_{n - 1}",
                "bn": f"BatchNorm_{n - 1}",
                "shortcut": "conv_proj",
                "shortcut_bn": "norm_proj",
            }
            place = f"ResNetBlock_{sum(depths[: s - 1]) + b}/{inner[what]}"
        return f"{root}/{place}/{leaf}"

    return name


FLAX = "google/flax, examples/imagenet"


@kind("flax names in .npz", FLAX)
def flax_npz():
    net = resnet(depths=(2, 1, 1, 1))
    return Layout(net, hwio(arrays(net, flax_name((2, 1, 1, 1)))), "net.npz", note="(?i)padding|same")


@kind("flax names in .safetensors, dots for slashes", FLAX)
def flax_safetensors():
    net = resnet()
    tree = {k.replace("/", "."): np.ascontiguousarray(v) for k, v in hwio(arrays(net, flax_name((1, 1, 1, 1)))).items()}
    return Layout(net, tree, "flax_model.safetensors", note="(?i)padding|same")


def haiku_name(layer, part):
    leaf = {"weight": "scale" if is_norm(layer) else "w", "bias": "offset" if is_norm(layer) else "b",
            "running_mean": "~/mean_ema/average", "running_var": "~/var_ema/average"}[part]
    if isinstance(layer, str):
        place = {"conv1": "~/initial_conv", "bn1": "~/initial_batchnorm", "fc": "~/logits"}[layer]
    else:
        s, b, what, n = layer
        inner = {
            "conv": f"conv_{n - 1}",
            "bn": f"batchnorm_{n - 1}",
            "shortcut": "shortcut_conv",
            "shortcut_bn": "shortcut_batchnorm",
        }
        place = f"~/block_group_{s - 1}/~/block_{b}/~/{inner[what]}"
    return f"res_net18/{place}/{leaf}"


@kind("haiku names in .npz", "google-deepmind/dm-haiku")
def haiku():
    net = resnet()
    return Layout(net, hwio(arrays(net, haiku_name)), "net.npz", note="(?i)padding|same")


def slim_name(layer, part):
    if isinstance(layer, str):
        place = {"conv1": "conv1", "bn1": "conv1/BatchNorm", "fc": "logits"}[layer]
    else:
        s, b, what, n = layer
        inner = {
            "conv": f"conv{n}",
            "bn": f"conv{n}/BatchNorm",
            "shortcut": "shortcut",
            "shortcut_bn": "shortcut/BatchNorm",
        }
        place = f"block{s}/unit_{b + 1}/bottleneck_v1/{inner[what]}"
    leaf = {"weight": "gamma", "bias": "beta"} if is_norm(layer) else {"weight": "weights", "bias": "biases"}
    return f"resnet_v1_50/{place}/{({'running_mean': 'moving_mean', 'running_var': 'moving_variance'} | leaf)[part]}"


@kind("TF-slim names in .npz: the stride in a stage's last block", "tensorflow/models, slim")
def slim():
    net = resnet(bottleneck=True, strides=(2, 2, 2, 1))
    tree = hwio(arrays(net, slim_name))
    tree["resnet_v1_50/logits/weights"] = tree["resnet_v1_50/logits/weights"][None, None]
    tree["global_step"] = np.array(1000)
    return Layout(net, dict(sorted(tree.items())), "net.npz", refusal=r"(?i)slim|stride")


def gluon_name(layer, part):
    leaf = {"weight": "gamma" if is_norm(layer) else "weight", "bias": "beta" if is_norm(layer) else "bias"}.get(
        part, part
    )
    if isinstance(layer, str):
        return f"resnetv10_{({'conv1': 'conv0', 'bn1': 'batchnorm0', 'fc': 'dense0'})[layer]}_{leaf}"
    s, b, what, n = layer
    number = {"conv": n - 1, "bn": n - 1, "shortcut": 2, "shortcut_bn": 2}[what] + (2 * b + 1 if b and s > 1 else 2 * b)
    return f"resnetv10_stage{s}_{'batchnorm' if 'bn' in what else 'conv'}{number}_{leaf}"


@kind("Gluon names in .npz", "apache/mxnet, gluon.model_zoo")
def gluon():
    net = resnet(depths=(2, 2, 1, 1))
    return Layout(net, arrays(net, gluon_name), "net.npz")


@kind("Gluon's newer names: features.4.0.body.0.weight", "apache/mxnet, save_parameters")
def gluon_parameters():
    net = resnet()
    rules = ((r"^conv1", "features.0"), (r"^bn1", "features.1"), (r"^layer(\d)", lambda m: f"features.{int(m[1]) + 3}"),
             (r"\.conv1\.", ".body.0."), (r"\.bn1\.", ".body.1."), (r"\.conv2\.", ".body.3."), (r"\.bn2\.", ".body.4."),
             (r"^fc", "output"))
    state = {k: v for k, v in renamed(net.state_dict(), *rules).items() if v.ndim}
    norms = {k.rsplit(".", 1)[0] for k in state if k.endswith("running_var")}
    for old, new in (("weight", "gamma"), ("bias", "beta")):
        state = {f"{k.rsplit('.', 1)[0]}.{new}" if k.rsplit(".", 1)[0] in norms and k.endswith(f".{old}") else k: v
                 for k, v in state.items()}
    return Layout(net, state, "net.safetensors")


def caffe_place(layer):
    if isinstance(layer, str):
        return {"conv1": "conv1", "bn1": "bn_conv1", "fc": "fc1000"}[layer]
    s, b, what, n = layer
    branch = f"{s + 1}{'abcdef'[b]}_branch" + (f"2{'abc'[n - 1]}" if what in ("conv", "bn") else "1")
    return ("bn" if "bn" in what else "res") + branch


def caffe_name(layer, part):
    place = caffe_place(layer)
    if is_norm(layer) and not part.startswith("running"):
        place = place.replace("bn", "scale", 1)
    return f"{place}.{part}"


@kind("Caffe names: res2a_branch2a, bn2a_branch2a, scale2a_branch2a", "ruotianluo/pytorch-resnet")
def caffe():
    net = resnet(bottleneck=True, stride_on="1x1")
    net.maxpool = nn.MaxPool2d(3, 2, 0, ceil_mode=True)
    return Layout(net, arrays(net, caffe_name), "net.npz", refusal="(?i)caffe")


def paddle_name(layer, part):
    if layer == "fc":
        return {"weight": "fc_0.w_0", "bias": "fc_0.b_0"}[part]
    leaf = {
        "weight": "scale" if is_norm(layer) else "weights",
        "bias": "offset",
        "running_mean": "mean",
        "running_var": "variance",
    }
    return f"{caffe_place(layer)}_{leaf[part]}"


@kind("Paddle names: res2a_branch2a_weights, bn2a_branch2a_mean", "PaddlePaddle/models")
def paddle():
    net = resnet()
    tree = arrays(net, paddle_name)
    tree["fc_0.w_0"] = tree["fc_0.w_0"].T
    return Layout(net, tree, "net.npz")


def matlab_name(layer, part):
    leaf = {"weight": "Scale" if is_norm(layer) else "Weights", "bias": "Offset" if is_norm(layer) else "Bias",
            "running_mean": "TrainedMean", "running_var": "TrainedVariance"}[part]
    return f"{caffe_place(layer)}_{leaf}"


@kind("MATLAB names: bn2a_branch2a_TrainedMean, kernels HWIO, biases", "MathWorks, resnet18 exported")
def matlab():
    net = resnet(bias=True, stem_bias=True)
    tree = hwio(arrays(net, matlab_name))
    tree["fc1000_Weights"] = tree["fc1000_Weights"].T
    return Layout(net, tree, "net.npz")


def plain(name, source, tree, file="net.pth", **expected):
    """A kind whose arrays have no names, or names that say nothing; always in torchvision's order."""

    def make():
        net = resnet(depths=(2, 1, 1, 1))
        return Layout(net, tree(net.state_dict()), file, **expected)

    add(name, source, make)


def no_counters(state):
    return [value for value in state.values() if value.ndim]


plain("a list of tensors", "[p for p in state.values()]", lambda s: list(s.values()))
plain("a tuple of tensors without counters", "federated learning: get_parameters", lambda s: tuple(no_counters(s)))
plain("a list of NumPy arrays", "flwr: parameters as ndarrays", lambda s: [v.numpy() for v in no_counters(s)])
plain("numbers for names", "save by enumerate()", lambda s: dict(enumerate(no_counters(s))))
plain("numbers as text", "save by enumerate()", lambda s: {str(i): v for i, v in enumerate(s.values())})
plain(".npz without names: arr_0 …", "np.savez(path, *arrays)",
      lambda s: {f"arr_{i}": v for i, v in enumerate(no_counters(s))}, "net.npz")
plain("names in capitals", "converters", lambda s: {k.upper().replace(".", "_"): v for k, v in s.items()})
plain("underscores alone, norms called otherwise than their convolutions", "variables of scripts", lambda s: {
    re.sub(r"(layer\d_\d)_bn(\d)", r"\1_branch_\2_norm", k.replace(".", "_")).replace("_conv", "_w"): v
    for k, v in s.items()})
plain("names with semicolons", "databases of weights", lambda s: {k.replace(".", ";"): v for k, v in s.items()})
plain("Chinese names", "scripts", lambda s: {k.replace("conv", "卷积").replace("bn", "归一化").replace("layer", "层")
                                              .replace("fc", "全连接"): v for k, v in s.items()})
plain("names that are hashes, in order", "content-addressed stores",
      lambda s: {f"{i * 2654435761 % 2**32:08x}": v for i, v in enumerate(no_counters(s))})
plain("nested dictionaries for dots", "flax-like trees of a PyTorch state", lambda s: nested(s))
plain("bytes for names", "Python 2 pickles", lambda s: {k.encode(): v for k, v in s.items()})


def nested(state):
    tree = {}
    for key, value in state.items():
        *path, leaf = key.split(".")
        place = tree
        for step in path:
            place = place.setdefault(step, {})
        place[leaf] = value
    return tree


@kind("flax's tree of nested dictionaries in a pickle", "flax.core.unfreeze(variables)")
def flax_tree():
    net = resnet()
    tree = hwio(arrays(net, flax_name((1, 1, 1, 1))))
    return Layout(net, nested({k.replace("/", "."): v for k, v in tree.items()}), note="(?i)padding|same")


@kind("arrays in no order under names that say nothing", "a hostile test")
def shuffled():
    net = resnet()
    values = no_counters(net.state_dict())
    order = np.random.default_rng(0).permutation(len(values))
    return Layout(tree={f"{n:08x}": values[i] for n, i in enumerate(order)},
                  refusal=r"(?i)order|ambiguous|not those of a ResNet")
