"""ONNX in: files of other programs, whose arrays have any names and whose norms are folded, give the same scores.

Where it cannot be right it is refused: the graph that is read is held to the network that is built.
"""

import gc

import numpy as np
import pytest

from npresnet import WeightsError, load_model
from npresnet.formats.tensors import Tensor
from npresnet.models import list_models
from npresnet.weights import save_onnx

from ..support.libraries import images
from ..support.oracles import torchvision_models
from .test_onnx_out import VARIANTS, small

onnx = pytest.importorskip("onnx")

REFUSED = {  # so far
    "keras-tutorial-b, folded": "belongs to no convolution"
}


def nameless(path):
    """The file without metadata, its arrays called i0, i1, …"""
    model = onnx.load(path)
    del model.metadata_props[:]
    names = {one.name: f"i{i}" for i, one in enumerate(model.graph.initializer)}
    for one in model.graph.initializer:
        one.name = names[one.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("variant", ["same", "pre-activation", "group norm", "everything of timm's", "ECA"])
def test_the_file_s_tensors_are_freed_at_once(variant, tmp_path):
    """What stands in a cycle stays until the next collection, and the file's arrays beside the model's."""
    name, options = VARIANTS[variant]
    path = nameless(save_onnx(small(name, **options), tmp_path / "w.onnx"))
    gc.collect()
    gc.disable()
    try:
        load_model(path)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert not [thing for thing in gc.garbage if isinstance(thing, Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def assert_same(path, x, expected, tolerance=1e-5):
    found = load_model(path)(x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * abs(expected).max())


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize("name", list_models())
def test_every_family_is_known_by_its_graph(tmp_path, name, fold):
    model, x = small(name), images(shape=(3, 32, 64))
    assert_same(nameless(save_onnx(model, tmp_path / "net.onnx", fold=fold)), x, model(x))


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize("label", VARIANTS)
def test_every_detail_is_known_by_the_graph_or_refused(tmp_path, label, fold):
    name, options = VARIANTS[label]
    model, x = small(name, **options), images(shape=(options.get("in_channels", 3), 64, 64))
    path = nameless(save_onnx(model, tmp_path / "net.onnx", fold=fold))
    message = REFUSED.get(label) or (REFUSED.get(f"{label}, folded") if fold else None)
    if message is None:
        return assert_same(path, x, model(x))
    with pytest.raises(WeightsError, match=message):
        load_model(path)


def test_a_network_that_the_family_has_not_is_never_another(tmp_path):
    """A ReLU that is missing, and a pooling that is another."""
    path = nameless(save_onnx(small("resnet18"), tmp_path / "net.onnx"))
    model = onnx.load(path)
    relus = [node for node in model.graph.node if node.op_type == "Relu"]
    relus[3].op_type = "Identity"
    onnx.save(model, path)
    with pytest.raises(WeightsError, match="its arrays fit resnet18, its graph does not: layer 9 of it is Conv2d"):
        load_model(path)


# -- PyTorch's exporters -------------------------------------------------------------------------------------------


def export(torch, model, path, exporter):
    x = torch.from_numpy(images(1))
    if exporter == "dynamo":
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=True, verbose=False)
    elif exporter == "script":
        torch.onnx.export(model, (x,), path, dynamo=False)
    else:
        mode = torch.onnx.TrainingMode.PRESERVE
        torch.onnx.export(model, (x,), path, dynamo=False, training=mode, do_constant_folding=False)


def lively(torch, model):
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for array, low, high in ((norm.weight, 0.5, 1.5), (norm.bias, -0.2, 0.2)):
                torch.nn.init.uniform_(array, low, high)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return model.eval()


TORCH = {
    "basic": ("BasicBlock", [1, 1, 1, 1], {}),
    "bottleneck": ("Bottleneck", [1, 1, 1, 1], {}),
    "groups": ("Bottleneck", [1, 1, 1, 1], {"groups": 8, "width_per_group": 8}),
    "dilated": ("Bottleneck", [1, 1, 2, 2], {"replace_stride_with_dilation": [False, True, True]}),
}


@pytest.mark.filterwarnings("ignore")  # the exporters' own
@pytest.mark.parametrize(
    "name, exporter",
    [("basic", "dynamo"), *((name, exporter) for name in TORCH for exporter in ("script", "unfolded"))],
)
def test_pytorchs_exports(torch, tmp_path, name, exporter):
    block, depths, options = TORCH[name]
    resnet = torchvision_models().resnet
    model = lively(torch, resnet.ResNet(getattr(resnet, block), depths, num_classes=5, **options))
    export(torch, model, tmp_path / "net.onnx", exporter)
    x = images()
    with torch.no_grad():
        assert_same(tmp_path / "net.onnx", x, model(torch.from_numpy(x)).numpy())


def pre_activation(torch):
    """A network as CIFAR code builds it: norms before convolutions, zero channels on the shortcut."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels, out, stride):
            super().__init__()
            self.first, self.second = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)
            self.a = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
            self.b = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.skip = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out else None

        def forward(self, x):
            activated = torch.relu(self.first(x))
            skip = x if self.skip is None else self.skip(activated)
            return self.b(torch.relu(self.second(self.a(activated)))) + skip

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
            sizes = ((8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1))
            self.blocks = nn.Sequential(*(Block(*size) for size in sizes))
            self.last, self.scores = nn.BatchNorm2d(32), nn.Linear(32, 5)

        def forward(self, x):
            return self.scores(torch.relu(self.last(self.blocks(self.stem(x)))).mean((2, 3)))

    return Net()


def padded_shortcuts(torch):
    """A network whose shortcuts leave out pixels and append zeros on both sides."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, channels, out, stride):
            super().__init__()
            self.a, self.na = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
            self.b, self.nb = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            self.added = (out - channels) // 2

        def forward(self, x):
            branch = self.nb(self.b(torch.relu(self.na(self.a(x)))))
            skip = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added)) if self.added else x
            return torch.relu(branch + skip)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
            sizes = ((8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1))
            self.blocks, self.scores = nn.Sequential(*(Block(*size) for size in sizes)), nn.Linear(32, 5)

        def forward(self, x):
            x = self.blocks(torch.relu(self.norm(self.stem(x))))
            return self.scores(F.avg_pool2d(x, x.size(3)).view(x.size(0), -1))

    return Net()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "build, exporter",
    [
        (pre_activation, "script"),
        (pre_activation, "unfolded"),
        (padded_shortcuts, "script"),
        (padded_shortcuts, "dynamo"),
    ],
)
def test_networks_of_cifar_code(torch, tmp_path, build, exporter):
    model = lively(torch, build(torch))
    export(torch, model, tmp_path / "net.onnx", exporter)
    x = images()
    with torch.no_grad():
        assert_same(tmp_path / "net.onnx", x, model(torch.from_numpy(x)).numpy())
