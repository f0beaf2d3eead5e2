"""The quantized network that several files of tests read."""

import pytest

from ..support.torch_quantized import quantized


@pytest.fixture(scope="session")
def resnet18(tmp_path_factory):
    """(torch, torchvision's quantized ResNet-18, the file of its state dict)."""
    torch, model = quantized("resnet18")
    path = tmp_path_factory.mktemp("quantized") / "resnet18.pth"
    torch.save(model.state_dict(), path)
    return torch, model, path
