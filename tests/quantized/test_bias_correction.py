"""Bias correction: the mean that rounding the weights adds to a channel is taken off again."""

import numpy as np
import pytest

import npresnet
from npresnet import nn, ops
from npresnet.quantized.bias_correction import ChannelMeans, corrected_bias
from npresnet.quantized.calibrate import rounded_weights
from npresnet.quantized.float_step import INPUT, FloatStep

from .test_quantized import images, lively


def test_means_are_those_of_all_batches():
    x = np.random.default_rng(0).standard_normal((7, 3, 5, 4)).astype(np.float32) + 2
    means = ChannelMeans()
    for part in (x[:2], x[2:3], x[3:]):
        means.observe(part)
    np.testing.assert_allclose(means.mean, x.mean((0, 2, 3), dtype=np.float64), rtol=1e-12)
    features = ChannelMeans()
    features.observe(x[:, :, 0, 0])
    np.testing.assert_allclose(features.mean, x[:, :, 0, 0].mean(0, dtype=np.float64), rtol=1e-12)


LAYERS = {
    "1x1": nn.Conv2d(4, 6, 1, bias=True),
    "3x3, not padded": nn.Conv2d(4, 6, 3),
    "in two groups": nn.Conv2d(4, 6, 3, groups=2, bias=True),
    "classifier": nn.Linear(4, 6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_corrected_mean_is_the_float_layers(name):
    """Where no padding is: E over all windows is E of the pixels only where the images are the same everywhere."""
    layer, rng = LAYERS[name], np.random.default_rng(1)
    for parameter in layer.parameters():
        parameter.value = rng.standard_normal(parameter.value.shape).astype(np.float32)
    x = rng.uniform(0, 3, (16, 4, 1, 1)).astype(np.float32) * np.ones((1, 1, 5, 5), np.float32)
    x = x if isinstance(layer, nn.Conv2d) else x[:, :, 0, 0]
    step, means = FloatStep("layer", (INPUT,), (layer,)), ChannelMeans()
    means.observe(x)
    arrays = rounded_weights(step, bits=3)

    def error(bias):
        """The largest mean of a channel's error, where the weights are rounded and the bias is this one."""
        w = arrays["layer.weight"] * arrays["layer.weight_scale"].reshape(-1, *(1,) * (arrays["layer.weight"].ndim - 1))
        if isinstance(layer, nn.Conv2d):
            y = ops.conv2d(x, w.astype(np.float32), bias, **layer.window())[0]
        else:
            y = ops.linear(x, w.astype(np.float32), bias)[0]
        lost = (y - layer(x)).astype(np.float64)
        return np.abs(lost.mean((0, *range(2, lost.ndim)))).max()

    assert error(arrays["layer.bias"]) > 0.05
    assert error(corrected_bias(step, arrays, means.mean)) < 2e-5


def test_at_few_bits_the_scores_mean_comes_nearer():
    model, x = lively(npresnet.create_model("resnet20")), images(32)
    plain, corrected = (
        npresnet.quantize(model, x, weight_bits=4, correct_bias=correct)(x) - model(x) for correct in (False, True)
    )
    assert np.linalg.norm(corrected.mean(0)) < 0.7 * np.linalg.norm(plain.mean(0))
    again = npresnet.quantize(model, x, weight_bits=4)(x) - model(x)
    np.testing.assert_array_equal(again, plain)


def test_few_bits_are_few_levels():
    model, x = lively(npresnet.create_model("resnet20")), images(4)
    for bits in (2, 5, 8):
        last = 2 ** (bits - 1) - 1
        for name, array in npresnet.quantize(model, x, weight_bits=bits).arrays().items():
            assert not name.endswith(".weight") or np.abs(array.astype(int)).max() == last
    for wrong in (1, 9, 4.5, "8"):
        with pytest.raises(ValueError, match="weight_bits"):
            npresnet.quantize(model, x, weight_bits=wrong)
