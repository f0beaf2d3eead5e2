"""Sizes under both conventions, 'same' padding against TensorFlow's rule, the PyTorch tutorial's walk through sizes."""

import numpy as np
import pytest

from npresnet import ops
from npresnet.analysis.summary import summary
from npresnet.models import build
from npresnet.nn import Conv2d, MaxPool2d


@pytest.mark.parametrize("k", [1, 2, 3, 7])
@pytest.mark.parametrize("s", [1, 2, 3])
def test_the_three_formulas(k, s):
    for i in range(k, 20):
        for p in range(k // 2 + 1):
            explicit = ops.Window.of(k, s, p).output_size((i, i))[0]
            assert explicit == (i + 2 * p - k) // s + 1
        same = ops.Window.of(k, s, ops.same_padding((i, i), k, s)).output_size((i, i))[0]
        valid = ops.Window.of(k, s).output_size((i, i))[0]
        assert same == -(-i // s) and valid == -(-(i - k + 1) // s)


def test_same_pads_the_odd_pixel_behind():
    assert ops.same_padding((56, 56), 3, 2) == ((0, 1), (0, 1)) and ops.same_padding((57, 56), 3, 2) == ((1, 1), (0, 1))
    assert ops.same_padding((224, 224), 7, 2) == ((2, 3), (2, 3)) and ops.same_padding((5, 5), 3, 1) == ((1, 1), (1, 1))


@pytest.mark.parametrize(
    "kernel, stride, size", [(3, 2, (8, 9)), (7, 2, (10, 7)), (3, 1, (4, 5)), (2, 2, (5, 6)), (1, 2, (7, 4))]
)
def test_same_convolution_and_pooling_are_those_of_padded_images(kernel, stride, size):
    """TensorFlow's rule by hand: pad, then convolve 'valid'; value and pullback."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, *size)), rng.standard_normal((4, 3, kernel, kernel))
    total = [max(0, (-(-i // stride) - 1) * stride + kernel - i) for i in size]
    sides = [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
    tx, tw = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    convolved = torch.nn.functional.conv2d(torch.nn.functional.pad(tx, sides), tw, stride=stride)
    layer = Conv2d(3, 4, kernel, stride, "same").astype(np.float64)
    layer.weight.value = w
    y, pullback = layer.vjp(x)
    np.testing.assert_allclose(y, convolved.detach().numpy(), rtol=1e-12, atol=1e-12)
    dy = rng.standard_normal(y.shape)
    convolved.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(pullback(dy), tx.grad.numpy(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layer.weight.grad, tw.grad.numpy(), rtol=1e-11, atol=1e-11)
    tx.grad = None
    pooled = torch.nn.functional.max_pool2d(torch.nn.functional.pad(tx, sides, value=-np.inf), kernel, stride)
    y, pullback = MaxPool2d(kernel, stride, "same").vjp(x)
    np.testing.assert_array_equal(y, pooled.detach().numpy())
    pooled.backward(torch.from_numpy(dy[:, :3]))
    np.testing.assert_allclose(pullback(dy[:, :3]), tx.grad.numpy(), rtol=1e-12)


def walk(size):
    """The tutorial's steps for ResNet-50: (after, kernel, stride, padding), the slips corrected.

    Step 1 gives 112.5, whose floor is 112; step 6 reads 56 and not 58; of a block's three convolutions only the 3×3
    has the stride 2, as the tutorial's own code has it.
    """
    steps = [("conv1", 7, 2, 3), ("maxpool", 3, 2, 1)]
    for stage in range(1, 5):
        steps += [
            (f"layer{stage}.0.conv1", 1, 1, 0),
            (f"layer{stage}.0.conv2", 3, 1 if stage == 1 else 2, 1),
            (f"layer{stage}.0.conv3", 1, 1, 0),
        ]
    for name, k, s, p in steps:
        size = (size + 2 * p - k) // s + 1
        yield name, size


@pytest.mark.parametrize(
    "size, sizes",
    [
        (224, [112, 56, 56, 56, 56, 56, 28, 28, 28, 14, 14, 14, 7, 7]),
        (223, [112, 56, 56, 56, 56, 56, 28, 28, 28, 14, 14, 14, 7, 7]),
        (225, [113, 57, 57, 57, 57, 57, 29, 29, 29, 15, 15, 15, 8, 8]),
    ],
)
def test_the_walk_through_sizes_step_by_step(size, sizes):
    rows = {
        row.name: row.output_shape
        for row in summary(build("resnet50", dialect="pytorch-tutorial"), (32, 3, size, size)).rows
    }
    steps = list(walk(size))
    assert [side for _, side in steps] == sizes
    for name, side in steps:
        assert rows[name][2:] == (side, side)
