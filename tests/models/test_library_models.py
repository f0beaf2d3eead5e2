"""Caffe's networks and the PyTorch tutorial's, as modules of PyTorch written from their descriptions."""

import numpy as np
import pytest

from npresnet import create_model, load_model
from npresnet.weights import load_weights

from ..support.libraries import assert_close, images, randomise_torch

torch = pytest.importorskip("torch")
nn = torch.nn
BOTTLENECKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


class Block(nn.Module):
    """Two or three convolutions and a shortcut; ``strides`` and ``names`` are the flavour's."""

    def __init__(self, channels, widths, kernels, strides, shortcut, bias, name):
        super().__init__()
        for i, (width, kernel, stride) in enumerate(zip(widths, kernels, strides), start=1):
            setattr(self, f"conv{i}", nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=bias))
            setattr(self, f"bn{i}", nn.BatchNorm2d(width))
            channels = width
        self.shortcut = name
        setattr(self, name, shortcut)

    def forward(self, x):
        y, count = x, len([name for name, _ in self.named_children() if name.startswith("conv")])
        for i in range(1, count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < count else y
        shortcut = getattr(self, self.shortcut)
        return torch.relu(y + (x if shortcut is None else shortcut(x)))


class LibraryResNet(nn.Module):
    """A ResNet of PyTorch's own layers: ``flavour`` is "caffe", "tutorial" or "tutorial-34"."""

    def __init__(self, flavour, depths, classes=5, channels=3):
        super().__init__()
        caffe, bias, basic = flavour == "caffe", flavour == "tutorial-34", flavour == "tutorial-34"
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=bias or (caffe and depths == BOTTLENECKS["resnet50"]))
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True) if caffe else nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for s, depth in enumerate(depths):
            width, blocks = 64 * 2**s, []
            for b in range(depth):
                stride = 2 if s > 0 and b == 0 else 1
                out = width if basic else 4 * width
                projection = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=bias), nn.BatchNorm2d(out))
                shape = (
                    ((width, width), (3, 3), (stride, 1))
                    if basic
                    else ((width, width, out), (1, 3, 1), (stride, 1, 1) if caffe else (1, stride, 1))
                )
                name = "downsample" if caffe else "identity_downsample"
                blocks.append(Block(channels, *shape, projection if b == 0 else None, bias, name))
                channels = out
            setattr(self, f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))


def compare(theirs, ours, file, shape):
    x = images(shape=shape)
    with torch.no_grad():
        expected, exact = theirs(torch.from_numpy(x)), theirs.double()(torch.from_numpy(x).double())
    assert_close(ours(x), expected.numpy(), 1e-4)
    wide = ours.astype(np.float64)
    load_weights(wide, file)
    assert_close(wide(x.astype(np.float64)), exact.numpy(), 1e-9)


@pytest.mark.parametrize(
    "name, shape",
    [
        ("resnet50", (3, 64, 64)),
        ("resnet50", (3, 71, 58)),
        pytest.param("resnet101", (3, 33, 40), marks=pytest.mark.slow),
    ],
)
def test_caffe(tmp_path, name, shape):
    theirs = randomise_torch(LibraryResNet("caffe", BOTTLENECKS[name]))
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    ours = create_model(name, weights=tmp_path / "net.pth", dialect="caffe")
    if name == "resnet50":  # only its first convolution has a bias, which Caffe's dialect alone does not prove
        found = load_model(tmp_path / "net.pth")
        assert found.spec.dialect == "torchvision" and found.spec.options == {"stem_bias": True}
        assert any("caffe" in note for note in found.notes) and "conv1.bias" in ours.state_dict()
    compare(theirs, ours, tmp_path / "net.pth", shape)


@pytest.mark.parametrize(
    "flavour, name, depths, channels",
    [
        ("tutorial", "resnet50", (3, 4, 6, 3), 3),
        pytest.param("tutorial", "resnet101", (3, 4, 23, 3), 1, marks=pytest.mark.slow),
        ("tutorial-34", "resnet34", (3, 4, 6, 3), 3),
        ("tutorial-34", "resnet34", (3, 4, 6, 3), 4),
    ],
)
def test_pytorch_tutorial(tmp_path, flavour, name, depths, channels):
    theirs = randomise_torch(LibraryResNet(flavour, depths, classes=7, channels=channels))
    assert "layer1.0.identity_downsample.0.weight" in theirs.state_dict()
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    ours = load_model(tmp_path / "net.pth")
    assert (ours.spec.name, ours.spec.dialect, ours.spec.options) == (name, "pytorch-tutorial", {})
    assert (ours.spec.num_classes, ours.spec.in_channels) == (7, channels)
    compare(theirs, ours, tmp_path / "net.pth", (channels, 63, 63))
