"""torchvision's quantized networks with lively weights, and images that tell their classes apart."""

import warnings

import pytest

from . import oracles

SIZE = 64


def images(torch, n, seed):
    """Smooth images with some noise, so that the scores differ between them."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.nn.functional.interpolate(torch.randn(n, 3, 5, 5, generator=generator), size=SIZE, mode="bicubic")
    return 1.2 * low + 0.3 * torch.randn(n, 3, SIZE, SIZE, generator=generator)


def quantized(name, calibration=16):
    """torchvision's network of that name with lively weights, quantized for FBGEMM as its published ones are."""
    torch, models = oracles.torch(), oracles.torchvision_models()
    from torch.ao import quantization as ao

    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this PyTorch has no FBGEMM")
    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    model = getattr(models.quantization, name)(quantize=False, weights=None)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, 0, 0.3)
            part.momentum = None
    torch.nn.init.normal_(model.fc.weight, 0, 0.05)
    torch.nn.init.normal_(model.fc.bias, 0, 0.1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this part of PyTorch moves to another library
        model.train()(images(torch, 32, 1))
        model.eval()
        model.qconfig = ao.QConfig(activation=ao.default_observer, weight=ao.default_per_channel_weight_observer)
        model.fuse_model()
        ao.prepare(model, inplace=True)
        model(images(torch, calibration, 2))
        ao.convert(model, inplace=True)
    return torch, model
