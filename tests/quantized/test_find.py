"""What people put around a quantized state dict, and whole quantized networks: the same integers as PyTorch's."""

import warnings

import numpy as np
import pytest

import npresnet
from npresnet import WeightsError

from ..support import oracles
from ..support.torch_quantized import images


def same(path, due):
    """The file's network gives the scores that the plain state dict's gives."""
    network = npresnet.load_quantized(path)
    np.testing.assert_array_equal(network(images(oracles.torch(), 2, 4).numpy()), due)
    assert network.spec.name == "resnet18"


@pytest.fixture(scope="module")
def due(resnet18):
    torch, model, _ = resnet18
    with torch.no_grad():
        return model(images(torch, 2, 4)).numpy()


WRAPPERS = {
    "state_dict": lambda state: {"state_dict": state},
    "model and epoch": lambda state: {"model": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
    "data parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled, in a run": lambda state: {"net": {f"_orig_mod.{key}": value for key, value in state.items()}},
    "an average beside": lambda state: {"model_ema": state, "model": state},
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_state_dict_is_found_in_what_lies_around_it(resnet18, due, tmp_path, name):
    torch, model, _ = resnet18
    torch.save(WRAPPERS[name](model.state_dict()), tmp_path / "net.pth")
    same(tmp_path / "net.pth", due)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_pickled_network_is_what_its_state_dict_is(resnet18, due, tmp_path, zipped):
    torch, model, _ = resnet18
    torch.save(torch.nn.DataParallel(model), tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    same(tmp_path / "net.pth", due)


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_network_too(resnet18, due, tmp_path):
    torch, model, _ = resnet18
    torch.jit.script(model).save(tmp_path / "net.pt")
    same(tmp_path / "net.pt", due)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_network_of_fx_graph_mode(tmp_path, name):
    torch, models = oracles.torch(), oracles.torchvision_models()
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this PyTorch has no FBGEMM")
    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    model = getattr(models, name)(weights=None)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train()(images(torch, 8, 1))
        prepared = quantize_fx.prepare_fx(model.eval(), get_default_qconfig_mapping("fbgemm"), (images(torch, 1, 2),))
        prepared(images(torch, 4, 2))
        converted = quantize_fx.convert_fx(prepared)
        torch.save(converted.state_dict(), tmp_path / "net.pth")
        x = images(torch, 2, 4)
        network = npresnet.load_quantized(tmp_path / "net.pth")
        np.testing.assert_array_equal(network(x.numpy()), converted(x).numpy())
    assert network.spec.name == name


REFUSED = {
    "two networks": (
        lambda model: {"a": model.state_dict(), "b": model.state_dict()},
        "2 quantized networks, 'a', 'b'",
    ),
    "only the classifier": (lambda model: {"fc.weight": model.state_dict()["conv1.weight"]}, "no 'conv1.weight'"),
    "no scale of the images": (
        lambda model: {key: value for key, value in model.state_dict().items() if not key.startswith("quant")},
        "'quant.scale'",
    ),
    "a pair alone": (lambda model: model.state_dict()["fc._packed_params._packed_params"], "no quantized network"),
    "float arrays": (
        lambda model: {"conv1.weight": model.state_dict()["conv1.weight"].dequantize()},
        "npresnet quanti",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_line(resnet18, tmp_path, name):
    torch, model, _ = resnet18
    make, words = REFUSED[name]
    torch.save(make(model), tmp_path / "net.pth")
    refused(tmp_path / "net.pth", words)


def test_a_whole_network_whose_strides_are_others_is_refused(resnet18, tmp_path, monkeypatch):
    torch, model, _ = resnet18
    monkeypatch.setattr(model.layer2[0].conv1, "stride", (1, 1))
    torch.save(model, tmp_path / "net.pth")
    refused(tmp_path / "net.pth", "'layer2.0.conv1' has the stride 1, padding 1 and dilation 1")


def refused(path, words):
    with pytest.raises(WeightsError, match=words) as caught:
        npresnet.load_quantized(path)
    assert "\n" not in str(caught.value)
