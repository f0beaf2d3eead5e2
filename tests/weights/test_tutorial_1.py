"""The first tutorial: its shapes, its summary, and its two constructions with equal results."""

import numpy as np
import pytest

from npresnet.analysis.diff import drawn
from npresnet.analysis.summary import summary
from npresnet.models import DIALECTS, build
from npresnet.models.resnet import Bottleneck
from npresnet.nn import Sequential
from npresnet.teaching.functional_resnet import deep_resnet

A = DIALECTS["keras-tutorial-a"]


def conv_block(filters, shortcut, downsample):
    """The tutorial's ConvBlock: a 1×1 convolution on the shortcut, else a 3×3 'same'; no bias; a batch norm."""
    return Sequential(A.conv(64, filters, 1 if shortcut else 3, 2 if downsample else 1), A.norm2d(filters))


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("downsample", [False, True])
def test_conv_block(shortcut, downsample):
    block = conv_block(64, shortcut, downsample).train()
    y = block(np.random.default_rng(0).standard_normal((2, 64, 56, 56), np.float32))
    assert y.shape == ((2, 64, 28, 28) if downsample else (2, 64, 56, 56))
    assert [key for key in block.state_dict() if "bias" in key] == ["1.bias"] and block.children()["1"].eps == 1e-3


def test_bottleneck_shapes_stage_by_stage():
    """NHWC there, NCHW here: (2, 56, 56, 64) → (2, 56, 56, 256) → (2, 28, 28, 512) → … → (2, 7, 7, 2048)."""
    x = np.random.default_rng(0).standard_normal((2, 64, 56, 56), np.float32)
    for filters, channels, size, stride in ((64, 256, 56, 1), (128, 512, 28, 2), (256, 1024, 14, 2), (512, 2048, 7, 2)):
        for block in range(3):
            lead = block == 0
            layer = Bottleneck(A, x.shape[1], filters, stride if lead else 1, leading=lead)
            assert ("downsample.0.weight" in layer.state_dict()) == lead  # projects in the leading block only
            x = layer(x)
        assert x.shape == (2, channels, size, size)


def test_summary_totals():
    table = summary(build("resnet50", dialect="keras-tutorial-a"), (2, 3, 224, 224))
    assert (table.parameters + table.buffers, table.parameters, table.buffers) == (25610152, 25557032, 53120)
    assert table.rows[-1].output_shape == (2, 1000) and table.rows[-1].kind == "Linear"
    outputs = {row.name: row.output_shape for row in table.rows}
    assert outputs["conv1"] == (2, 64, 112, 112) and outputs["maxpool"] == (2, 64, 56, 56)
    assert outputs["layer4.2.conv3"] == (2, 2048, 7, 7)


@pytest.mark.parametrize("size", [(64, 64), (61, 70)])
def test_both_constructions_give_the_same_numbers(size):
    model = build("resnet50", 10, dialect="keras-tutorial-a")
    drawn(model, seed=2)
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 3, *size), np.float32), rng.standard_normal((2, 10), np.float32)
    grads = {}
    y, pullback = deep_resnet(x, model.state_dict(), grads)
    expected, model_pullback = model.vjp(x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(pullback(dy), model_pullback(dy))
    assert set(grads) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(grads[name], parameter.grad)
