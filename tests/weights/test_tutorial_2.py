"""The second tutorial: its family's sizes and order of layers, and its two counter-examples."""

import numpy as np
import pytest

from npresnet.analysis.summary import summary
from npresnet.models import build
from npresnet.nn import BatchNorm2d, initialize
from npresnet.teaching.counterexamples import UntrackedNormBlock, WrongBlock

SIZES = {  # total, trainable, non-trainable parameters; blocks a stage
    "resnet18": (11703912, 11694312, 9600, (2, 2, 2, 2)),
    "resnet34": (21823208, 21806184, 17024, (3, 4, 6, 3)),
    "resnet50": (25636712, 25583592, 53120, (3, 4, 6, 3)),
    "resnet101": (44707176, 44601832, 105344, (3, 4, 23, 3)),
    "resnet152": (60419944, 60268520, 151424, (3, 8, 36, 3)),
}
rng = np.random.default_rng(5)


@pytest.mark.parametrize("name", SIZES)
def test_the_family(name):
    model = build(name, dialect="keras-tutorial-b")
    table = summary(model)
    total, trainable, other, depths = SIZES[name]
    assert (table.parameters + table.buffers, table.parameters, table.buffers) == (total, trainable, other)
    assert tuple(len(stage.children()) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)) == depths
    assert [row.name for row in table.rows[:4]] == ["conv1", "maxpool", "bn1", "relu"]
    assert [row.kind for row in table.rows[-2:]] == ["Linear", "Softmax"]
    assert all(
        f"{key.rpartition('.')[0]}.bias" in model.state_dict() for key in model.state_dict() if key.endswith("weight")
    )  # every convolution is biased


def test_three_kinds_of_bottleneck():
    """A shortcut that adjusts channels, one that does nothing, one that also downsamples; a ReLU before the sum."""
    model = build("resnet50", dialect="keras-tutorial-b")
    left, middle, right = (getattr(model.layer1, "0"), getattr(model.layer1, "1"), getattr(model.layer2, "0"))
    x = np.zeros((1, 64, 8, 8), np.float32)
    wide = left(x)
    assert wide.shape == (1, 256, 8, 8) == middle(wide).shape and right(wide).shape == (1, 512, 4, 4)
    assert type(middle.downsample).__name__ == "Identity"
    residual, _ = right.layers()
    assert [type(part).__name__ for part in residual.branch.layers()][-2:] == ["BatchNorm2d", "ReLU"]
    initialize(model, 1)
    x = rng.standard_normal((2, 256, 8, 8)).astype(np.float32)
    assert (residual.branch(x) >= 0).all()  # the branch can only add


def test_the_wrong_block_is_wrong_in_three_ways():
    block = WrongBlock()
    for parameter in block.parameters():
        parameter.value = 0.1 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    x, z = rng.standard_normal((2, 1, 64, 6, 6)).astype(np.float32)
    assert block(x).shape == x.shape  # 1: the size never shrinks
    with pytest.raises(ValueError, match="channels"):  # 2: 64 filters, always
        block(np.zeros((1, 128, 6, 6), np.float32))
    branch = block.layers()[0].branch  # 3: two linear maps are one
    bias = branch(np.zeros_like(x))
    linear = branch(2 * x - 3 * z) - bias
    np.testing.assert_allclose(linear, 2 * (branch(x) - bias) - 3 * (branch(z) - bias), rtol=0, atol=1e-3)
    assert abs(linear).max() > 1


def test_batch_norms_made_in_the_call_are_never_tracked():
    block = UntrackedNormBlock(4).train()
    for parameter in block.parameters():
        parameter.value = rng.standard_normal(parameter.value.shape).astype(np.float32)
    assert set(block.state_dict()) == {f"conv{i}.{what}" for i in (1, 2) for what in ("weight", "bias")}
    assert not [module for module in block.modules() if isinstance(module, BatchNorm2d)]
    x = 5 + 3 * rng.standard_normal((8, 4, 6, 6)).astype(np.float32)
    trained, pullback = block.vjp(x)
    pullback(np.ones_like(trained))
    assert all(parameter.grad is not None for parameter in block.parameters())  # the convolutions do learn
    block.eval()
    norm = block.norm1
    np.testing.assert_allclose(norm(x), x / np.sqrt(np.float32(1.001)), rtol=1e-6)  # it predicts without normalizing
    assert abs(block(x) - trained).max() > 1  # another network than the trained one
    np.testing.assert_array_equal(block(x), block.vjp(x)[0])
