"""A whole ResNet of three small blocks, as every format has it: what is read is then recognised, too.

Its channels are few, and where the format allows it all its arrays share one storage, so that a seed stays small.
"""

import io
import json
import struct

import numpy as np

from tests.support import pickles

WIDTHS, CLASSES = (1, 2, 4), 3
FOUR = (1, 2, 4, 8)  # with the ImageNet nets' stem
LARGEST = 4 * 4 * 3 * 3  # values of an array
ROLES = ("weight", "bias", "running_mean", "running_var")
FLAX = dict(zip(ROLES, ("scale", "bias", "mean", "var")))
GLUON = dict(zip(ROLES, ("gamma", "beta", "running_mean", "running_var")))
CLASSES_OF = {
    "conv": "torch.nn.modules.conv Conv2d",
    "bn": "torch.nn.modules.batchnorm BatchNorm2d",
    "fc": "torch.nn.modules.linear Linear",
    "layer": "torch.nn.modules.container Sequential",
    "block": "torchvision.models.resnet BasicBlock",
    "relu": "torch.nn.modules.activation ReLU",
    "": "torchvision.models.resnet ResNet",
}


def layers(widths=WIDTHS):
    """path → ("conv", out, in, side, stride), ("bn", channels) or ("fc", out, in), in torchvision's order."""
    before, stem = widths[0], (7, 2) if widths == FOUR else (3, 1)
    found = {"conv1": ("conv", before, 3, *stem), "bn1": ("bn", before)}
    for i, width in enumerate(widths, 1):
        path, stride = f"layer{i}.0", 1 + (width != before)
        found |= {f"{path}.conv1": ("conv", width, before, 3, stride), f"{path}.bn1": ("bn", width)}
        found |= {f"{path}.conv2": ("conv", width, width, 3, 1), f"{path}.bn2": ("bn", width)}
        if width != before:
            found[f"{path}.downsample.0"] = ("conv", width, before, 1, stride)
            found[f"{path}.downsample.1"] = ("bn", width)
        before = width
    return found | {"fc": ("fc", CLASSES, before)}


def shapes_of(kind, *sizes):
    """role → shape of the arrays of a layer."""
    if kind == "bn":
        return dict.fromkeys(ROLES, sizes)
    if kind == "fc":
        return {"weight": sizes, "bias": sizes[:1]}
    return {"weight": (*sizes[:2], sizes[2], sizes[2])}


def arrays(widths=WIDTHS):
    """name → array, as torchvision names them."""
    return {
        f"{path}.{role}": np.ones(shape, np.float16)
        for path, layer in layers(widths).items()
        for role, shape in shapes_of(*layer).items()
    }


def huggingface():
    """name → array, as transformers names them."""
    found = {}
    for path, layer in layers(FOUR).items():
        stage, part = path.split(".")[0], path.split(".")[-1]
        base = f"resnet.encoder.stages.{int(stage[-1]) - 1}.layers.0." if stage[:5] == "layer" else ""
        leaf = "convolution" if layer[0] == "conv" else "normalization"
        if "downsample" in path:
            base += "shortcut."
        elif base:
            base += f"layer.{int(part[-1]) - 1}."
        else:
            base = "classifier." if path == "fc" else "resnet.embedder.embedder."
            leaf = "1" if path == "fc" else leaf
        for role, shape in shapes_of(*layer).items():
            found[f"{base}{leaf}.{role}"] = np.ones(shape, np.float16)
    return found


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def view(shape):
    """A tensor of the one storage."""
    strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return pickles.tensor(pickles.storage("0", LARGEST), 0, tuple(shape), strides)


def options_of(kind, *sizes):
    """What a module of PyTorch says of itself."""
    if kind == "conv":
        side, stride = sizes[2:]
        pairs = {"kernel_size": side, "stride": stride, "padding": side // 2, "dilation": 1}
        return {name: (value, value) for name, value in pairs.items()} | {"groups": 1, "padding_mode": "zeros"}
    if kind == "bn":
        return {"num_features": sizes[0], "eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
    return {"out_features": sizes[0], "in_features": sizes[1]} if kind == "fc" else {}


def tree():
    """Nested dictionaries of the layers, a ReLU in every block."""
    root = {}
    for path, layer in layers().items():
        *folders, last = path.split(".")
        node = root
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = layer
        if last == "bn2":
            node["relu"] = ("relu",)
    return root


def module(node, kind, script):
    """The instructions that make a pickled module, or an object of TorchScript, which has all as attributes."""
    leaf = isinstance(node, tuple)
    children = {} if leaf else {name: module(child, kind_of(name, child), script) for name, child in node.items()}
    tensors = {role: view(shape) for role, shape in shapes_of(*node).items()} if leaf and node != ("relu",) else {}
    options = {"training": False, **(options_of(*node) if leaf else {})}
    if script:
        state, name = tensors | children | options, f"__torch__.{CLASSES_OF[kind].replace(' ', '.')}"
        module_name, _, name = name.rpartition(".")
        name = f"{module_name} {name}"
    else:
        buffers = {role: tensors.pop(role) for role in ROLES[2:] if role in tensors}
        state = {"_parameters": tensors, "_buffers": buffers, "_modules": children, **options}
        name = CLASSES_OF[kind]
    return pickles.glob(name) + b")\x81" + pickles.value(state) + b"b"


def kind_of(name, child):
    if isinstance(child, tuple):
        return child[0]
    return "block" if name == "0" else "layer"


def pickled(script=False):
    """A .pth of the whole module, or its TorchScript archive."""
    program = pickles.PROTO2 + module(tree(), "", script) + b"."
    return pickles.pth(program, data=(("0", b"\0\0\x80\x3f" * LARGEST),))


def exported():
    """What torch.export leaves, its table of arrays."""
    table = {}
    for name, array in arrays().items():
        numbers = {"sizes": array.shape, "strides": np.array(array.strides) // 2}
        meta = {key: [{"as_int": int(n)} for n in values] for key, values in numbers.items()}
        meta |= {"dtype": 7, "storage_offset": {"as_int": 0}}
        table[name] = {"path_name": "0", "use_pickle": False, "tensor_meta": meta}
    text = json.dumps({"config": table}, separators=(",", ":")).encode()
    folder = "e/data/weights/"
    return pickles.raw_zip([(f"{folder}model_weights_config.json", text), (f"{folder}0", b"\0\0\x80\x3f" * LARGEST)])


def onnx():
    """What torch.onnx.export makes of it, which folds the norms; PyTorch 2.13's older exporter."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before, width):
            super().__init__()
            stride = 1 + (width != before)
            self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
            shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            self.downsample = shortcut if width != before else nn.Identity()

        def forward(self, x):
            return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.downsample(x))

    before = (WIDTHS[0], *WIDTHS)
    blocks = [Block(a, b) for a, b in zip(before, WIDTHS)]
    stem = [nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(WIDTHS[-1], CLASSES)]
    torch.manual_seed(0)
    net = nn.Sequential(*stem, *blocks, *head).eval()
    file = io.BytesIO()
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    torch.onnx.export(net, (torch.ones(1, 3, 8, 8),), file, dynamo=False, **kept)
    return file.getvalue()


# --- flax and MXNet ---------------------------------------------------------------------------------------------------


def packed(value):
    """A value in msgpack, arrays as flax has them."""
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else b"\xde" + struct.pack(">H", len(value))
        return head + b"".join(packed(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple)):
        return bytes([0x90 | len(value)]) + b"".join(map(packed, value))
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 | len(text)]) if len(text) < 32 else b"\xd9" + bytes([len(text)])) + text
    if isinstance(value, bytes):
        return (
            b"\xc5" + struct.pack(">H", len(value)) if len(value) < 2**16 else b"\xc6" + struct.pack(">I", len(value))
        ) + value
    if isinstance(value, int):
        return bytes([value]) if 0 <= value < 128 else b"\xd3" + struct.pack(">q", value)
    content = packed([list(value.shape), value.dtype.name, value.tobytes()])
    code, layout = (b"\xc8", ">Hb") if len(content) < 2**16 else (b"\xc9", ">Ib")
    return code + struct.pack(layout, len(content), 1) + content


def flax(state=None):
    """Parameters and statistics in nested maps, kernels as HWIO."""
    source = arrays() if state is None else state
    parameters, statistics = {}, {}
    for name, array in source.items():
        path, _, role = name.rpartition(".")
        if f"{path}.running_mean" in source:
            role = FLAX.get(role)
        elif role == "weight":
            role, array = "kernel", array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        if role is None:  # a counter, which flax has none of
            continue
        top = statistics if role in ("mean", "var") else parameters
        for folder in path.split("."):
            top = top.setdefault(folder, {})
        top[role] = array
    return packed({"params": parameters, "batch_stats": statistics})


def mxnet():
    """As gluon's zoo names them."""
    named = {}
    for path, layer in layers().items():
        for role, shape in shapes_of(*layer).items():
            name = GLUON[role] if layer[0] == "bn" else role
            top = "aux" if "running" in role else "arg"
            named[f"{top}:{path.replace('.', '_')}_{name}"] = np.ones(shape, np.float16)
    return params(named)


def params(named):
    """MXNet's .params of name → array of float32 or float16."""
    content = b"".join(
        struct.pack(f"<IiI{a.ndim}q3i", 0xF993FAC9, 0, a.ndim, *a.shape, 1, 0, 4 - a.itemsize and 2) + a.tobytes()
        for a in named.values()
    )
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in named)
    return struct.pack("<3Q", 0x112, 0, len(named)) + content + struct.pack("<Q", len(named)) + names
