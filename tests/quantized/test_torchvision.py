"""torchvision's quantized networks, as torch.save leaves them: the same integers as PyTorch's."""

import numpy as np
import pytest

import npresnet
from npresnet import WeightsError

from ..support.torch_quantized import images, quantized


def check(torch, model, path, count):
    network = npresnet.load_quantized(path)
    x = images(torch, count, 3)
    with torch.no_grad():
        due = model(x).numpy()
    steps = np.abs(network(x.numpy()) - due) / network.steps[-1].scale
    assert steps.max() < 0.5, "the integers differ"
    assert len(set(due.argmax(1).tolist())) > count // 20, "the scores are of one class alone"
    return network


def test_every_score_is_pytorchs(resnet18):
    network = check(*resnet18, 24)
    assert network.spec.name == "resnet18" and network.nbytes < 11_800_000
    assert network.preprocessing


@pytest.mark.slow
def test_every_score_of_200_images_is_pytorchs(resnet18):
    check(*resnet18, 200)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnext101_32x8d", "resnext101_64x4d"])
def test_every_score_of_bottlenecks_is_pytorchs(name, tmp_path):
    torch, model = quantized(name, 8)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    assert check(torch, model, tmp_path / "net.pth", 8).spec.name == name


def test_a_file_of_before_2020_is_read_too(resnet18, tmp_path):
    torch, model, path = resnet18
    torch.save(model.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    x = images(torch, 2, 4).numpy()
    np.testing.assert_array_equal(npresnet.load_quantized(tmp_path / "old.pth")(x), npresnet.load_quantized(path)(x))


def test_it_is_written_as_our_own_and_read_again(resnet18, tmp_path):
    torch, _, path = resnet18
    network, x = npresnet.load_quantized(path), images(torch, 2, 4).numpy()
    ours = npresnet.save_quantized(network, tmp_path / "ours.safetensors")
    np.testing.assert_array_equal(npresnet.load_quantized(ours)(x), network(x))


def test_who_needs_real_numbers_is_told_what_to_call(resnet18):
    with pytest.raises(WeightsError, match=r"load_quantized\(path\)"):
        npresnet.load_model(resnet18[2])


def changed(state, torch):
    """name → (a change of the state dict, what the message must say)."""
    weight = state["conv1.weight"]
    scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    real, other = weight.dequantize(), state["layer1.0.conv1.weight"].dequantize()
    one = torch.quantize_per_tensor(real, 0.1, 0, torch.qint8)
    return {
        "a zero point of weights": (
            {"conv1.weight": torch.quantize_per_channel(real, scales, zeros + 1, 0, torch.qint8)},
            "zero point other than 0",
        ),
        "scales along another axis": (
            {"conv1.weight": torch.quantize_per_channel(real, scales[:3], zeros[:3], 1, torch.qint8)},
            "for each filter",
        ),
        "unsigned weights": ({"layer1.0.conv1.weight": torch.quantize_per_tensor(other, 0.1, 0, torch.quint8)}, "int8"),
        "one integer repeated for ever": ({"conv1.weight": one.as_strided((2**20, 2**12), (0, 0))}, "past the bound"),
        "a scale that is missing": ({"layer1.0.add_relu.scale": None}, "no 'layer1.0.add.scale'"),
        "a scale of 0": ({"fc.scale": torch.tensor(0.0)}, "cannot be"),
        "a layer more": ({"layer9.weight": torch.ones(3)}, "layer9"),
        "a classifier without its pair": ({"fc._packed_params._packed_params": torch.ones(3)}, "fc"),
        "other integers": (
            {"conv1.weight": torch.quantize_per_tensor(real, 0.1, 0, torch.qint32)},
            "'conv1.weight': a tensor, but none",
        ),
    }


NAMES = (
    "a zero point of weights",
    "scales along another axis",
    "unsigned weights",
    "one integer repeated for ever",
    "a scale that is missing",
    "a scale of 0",
    "a layer more",
    "a classifier without its pair",
    "other integers",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_what_does_not_fit_is_refused_in_one_line(resnet18, tmp_path, name):
    torch, model, _ = resnet18
    state = model.state_dict()
    change, words = changed(state, torch)[name]
    state.update(change)
    torch.save({key: value for key, value in state.items() if value is not None}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=words) as caught:
        npresnet.load_quantized(tmp_path / "net.pth")
    assert "\n" not in str(caught.value)
