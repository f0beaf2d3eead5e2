"""The engine's features are the module's own, pooled or after a block."""

import numpy as np
import pytest

pytest.importorskip("numba")

import npresnet
from npresnet import nn, optimize

from ..support.shallow import shallow
from .test_engine import BOUND, filled, images

NETWORKS = {
    "resnet20": ["layer1", "layer2.0", "layer2.0.relu", "layer3.0"],
    "resnet18": ["maxpool", "layer1.0", "layer2.0.downsample", "layer4"],
    "preresnet18": ["layer2", "layer3.0"],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_the_modules(name):
    model, x = filled(shallow(name, softmax=name == "resnet18")), images(3, 40, 36)
    engine = optimize(model)
    for after in [None, "avgpool", "fc", *NETWORKS[name]]:
        due, found = npresnet.features(model, x, after), engine.features(x, after)
        assert found.shape == due.shape and found.dtype == np.float32
        assert abs(found - due).max() < BOUND * abs(due).max(), after
        np.testing.assert_array_equal(npresnet.features(engine, x, after), found)
    assert abs(engine(x) - model(x)).max() < BOUND * abs(model(x)).max()  # each has a plan of its own
    assert engine.features(x[:0], "layer2").shape[0] == 0


def test_layers_whose_output_no_step_computes():
    engine = optimize(shallow("resnet20"))
    with pytest.raises(ValueError, match=r"joins layer1\.0\.bn1 with the layers that follow"):
        engine.features(images(), "layer1.0.bn1")
    with pytest.raises(ValueError, match="no layer layer9"):
        engine.features(images(), "layer9")
    plain = optimize(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match="does not pool its features"):
        plain.features(images())
    np.testing.assert_array_equal(plain.features(images(), "0"), np.maximum(images(), 0))


def test_kernels_that_are_to_be_compiled_are_counted(monkeypatch):
    from npresnet.kernels.cpu.program.entry_point import EntryPoint

    engine = optimize(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, 2), nn.ReLU(), nn.GlobalAvgPool2d()))
    monkeypatch.setattr(EntryPoint, "is_cached", lambda kernel: kernel.__name__ == "affine")
    assert engine.missing_kernels((2, 3, 8, 8)) == 2
    monkeypatch.undo()
    engine(images())
    assert engine.missing_kernels((1, 3, 32, 32)) == 0


def test_an_engine_prepares_photos_as_its_model_does():
    model, photo = shallow("resnet20"), np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    filled(model).preprocessing = "cifar10"
    due = npresnet.features(model, npresnet.preprocess(photo, model))
    for network in (model, optimize(model)):
        np.testing.assert_allclose(npresnet.features(network, [photo]), due, rtol=1e-4, atol=1e-4 * abs(due).max())
