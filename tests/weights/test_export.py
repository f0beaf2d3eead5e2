"""Weights there and back: what is converted for a library loads in that library, and computes the same there."""

import numpy as np
import pytest

from npresnet import WeightsError, load_model, save_weights
from npresnet.analysis.diff import drawn
from npresnet.cli import main
from npresnet.models import build
from npresnet.weights import export_weights, read_weights

from ..support.libraries import assert_close, images
from ..support.oracles import torchvision_models


def model_of(name, dialect, classes=6):
    model = build(name, classes, dialect=dialect)
    drawn(model, seed=4)
    return model


def test_huggingface_and_torchvision_load_each_other(torch, library, tmp_path):
    transformers = library("transformers")
    ours = model_of("resnet18", "torchvision")
    save_weights(ours, tmp_path / "a.pth")
    assert main(["convert", str(tmp_path / "a.pth"), str(tmp_path / "model.safetensors"), "--to", "huggingface"]) == 0
    config = transformers.ResNetConfig(
        layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], num_labels=6
    )
    config.save_pretrained(tmp_path)
    theirs = transformers.ResNetForImageClassification.from_pretrained(tmp_path).eval()
    x = images()
    with torch.no_grad():
        assert_close(ours(x), theirs(torch.from_numpy(x)).logits.numpy(), 1e-4)
    theirs.save_pretrained(tmp_path / "back")
    there, back = str(tmp_path / "back/model.safetensors"), str(tmp_path / "b.pth")
    assert main(["convert", there, back, "--to", "torchvision"]) == 0
    tv = torchvision_models().resnet18(num_classes=6)
    tv.load_state_dict(torch.load(back, weights_only=True))
    with torch.no_grad():
        assert_close(ours(x), tv.eval()(torch.from_numpy(x)).numpy(), 1e-4)


@pytest.mark.parametrize("name, original", [("resnet50", "ResNet50"), ("preresnet50", "ResNet50V2")])
def test_keras_loads_what_is_written_for_it(keras, tmp_path, name, original):
    ours = model_of(name, "keras")
    export_weights(ours, tmp_path / "net.h5", "keras")
    theirs = getattr(keras.applications, original)(weights=None, input_shape=(64, 64, 3), classes=6)
    theirs.load_weights(tmp_path / "net.h5")
    x = images()
    assert_close(ours(x), keras.ops.convert_to_numpy(theirs(x.transpose(0, 2, 3, 1))), 1e-4)
    again = load_model(tmp_path / "net.h5")
    assert again.spec == ours.spec
    for key, array in ours.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], array)


def test_the_pytorch_tutorial_gets_its_own_names(tmp_path):
    ours = model_of("resnet34", "pytorch-tutorial")
    export_weights(ours, tmp_path / "net.safetensors", "pytorch-tutorial")
    assert "layer1.0.identity_downsample.0.weight" in read_weights(tmp_path / "net.safetensors")
    assert load_model(tmp_path / "net.safetensors").spec == ours.spec


@pytest.mark.parametrize(
    "name, dialect, target, message",
    [
        ("resnet50", "keras", "torchvision", "stride_on is '1x1' here and '3x3' there; conv_bias is True here"),
        ("resnet18", "caffe", "torchvision", "pool is 'ceil' here and 'padded' there"),
        ("resnet34", "pytorch-tutorial", "torchvision", "npresnet diff pytorch-tutorial torchvision --model resnet34"),
        ("resnet50", "torchvision", "keras", "computes other numbers"),
        ("resnet20", "torchvision", "huggingface", "no resnet20 in the dialect 'huggingface'"),
        ("resnet50", "keras-tutorial-a", "keras-tutorial-a", "no names of their own"),
        ("resnet50", "torchvision", "klingon", "unknown dialect 'klingon'"),
    ],
)
def test_refusals_say_why(tmp_path, name, dialect, target, message):
    with pytest.raises(WeightsError, match=message):
        export_weights(build(name, dialect=dialect), tmp_path / "net.h5", target)
    assert not list(tmp_path.iterdir())
    with pytest.raises(WeightsError, match="change the suffix"):
        export_weights(build("resnet50", dialect="keras"), tmp_path / "net.pth", "keras")
