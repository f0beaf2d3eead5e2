"""The same code on arrays that are not NumPy's: every model, value and gradients, on a stand-in for CuPy."""

import numpy as np
import pytest

from npresnet import create_model, ops, to_device, use
from npresnet.analysis.cam import grad_cam, saliency
from npresnet.analysis.features import features
from npresnet.nn import initialize

from ..support import fake_cupy

MODELS = ["resnet18", "resnext50_32x4d", "resnet20", "plain20", "preresnet110"]


@pytest.fixture
def cupy():
    with fake_cupy.installed() as module, use("numpy"):
        yield module


def gradients(model, x, labels):
    logits, pullback = model.vjp(x)
    loss, loss_pullback = ops.softmax_cross_entropy(logits, labels)
    dx = pullback(loss_pullback())
    return {"loss": loss, "dx": dx} | {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_equals_the_host_s_and_brings_nothing_back(cupy, name):
    rng = np.random.default_rng(0)
    model = initialize(create_model(name, num_classes=5)).astype(np.float64).train()
    x, labels = rng.standard_normal((2, 3, 32, 32)), np.array([1, 4])
    there = to_device(model, "cuda")
    fake_cupy.transfers.clear()
    found = gradients(there, cupy.asarray(x), cupy.asarray(labels))
    assert fake_cupy.transfers == []
    for key, array in gradients(model, x, labels).items():
        np.testing.assert_array_equal(found[key].get(), array, err_msg=key)
    back = to_device(there, "cpu").state_dict()
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(back[key], array, err_msg=key)


def test_every_other_op(cupy):
    x = np.random.default_rng(0).standard_normal((2, 4, 7, 6))
    for op, static in [
        (ops.avg_pool2d, {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        (ops.max_pool2d, {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        (ops.zero_pad2d, {"padding": 1}),
        (ops.subsample, {"stride": 2}),
        (ops.zero_pad_channels, {"before": 1, "after": 2}),
    ]:
        y, pullback = op(cupy.asarray(x), **static)
        y_host, pullback_host = op(x, **static)
        np.testing.assert_array_equal(y.get(), y_host)
        np.testing.assert_array_equal(pullback(y).get(), pullback_host(y_host))


def test_looking_inside(cupy):
    model = create_model("resnet20")
    there, x = to_device(model, "cuda"), np.ones((1, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(
        features(there, cupy.asarray(x), ["layer2"])["layer2"].get(), features(model, x, ["layer2"])["layer2"]
    )
    np.testing.assert_array_equal(
        grad_cam(there, cupy.asarray(x), [3], after="layer3").get(), grad_cam(model, x, [3], after="layer3")
    )
    np.testing.assert_array_equal(saliency(there, cupy.asarray(x), [3]).get(), saliency(model, x, [3]))


def test_mixed_devices_raise_with_the_cure(cupy):
    model = create_model("resnet20")
    with pytest.raises(TypeError, match=r"to_device\(\)"):
        model(cupy.ones((1, 3, 32, 32), dtype=np.float32))


def test_the_stand_in_refuses_to_mix(cupy):
    with pytest.raises(TypeError):
        cupy.ones(3) + np.ones(3)
    with pytest.raises(TypeError):
        np.ones(3) + cupy.ones(3)
    with pytest.raises(TypeError):
        np.maximum(cupy.ones(3), 0)
    with pytest.raises(TypeError):
        np.asarray(cupy.ones(3))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu0"])
def test_an_unknown_device_is_named(device):
    with pytest.raises(ValueError, match="unknown device"):
        to_device(np.ones(3), device)
