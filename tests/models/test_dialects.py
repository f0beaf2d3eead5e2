"""Every dialect's size, its refusals, and its two outputs: scores and probabilities."""

import numpy as np
import pytest

from npresnet.models import DIALECTS, build, details
from npresnet.nn import initialize

SIZES = {  # (dialect, model): all, trainable, running statistics
    ("caffe", "resnet50"): (25610216, 25557096, 53120),
    ("keras", "resnet50"): (25636712, 25583592, 53120),
    ("keras", "resnet101"): (44707176, 44601832, 105344),
    ("keras", "preresnet50"): (25613800, 25568360, 45440),
    ("keras", "preresnet101"): (44675560, 44577896, 97664),
    ("keras", "preresnet152"): (60380648, 60236904, 143744),
    ("keras-tutorial-a", "resnet50"): (25610152, 25557032, 53120),
    ("keras-tutorial-b", "resnet18"): (11703912, 11694312, 9600),
    ("keras-tutorial-b", "resnet34"): (21823208, 21806184, 17024),
    ("keras-tutorial-b", "resnet50"): (25636712, 25583592, 53120),
    ("keras-tutorial-b", "resnet101"): (44707176, 44601832, 105344),
    ("keras-tutorial-b", "resnet152"): (60419944, 60268520, 151424),
    ("pytorch-tutorial", "resnet34"): (21827624, 21810472, 17152),
    ("pytorch-tutorial", "resnet50"): (25610152, 25557032, 53120),
}


@pytest.mark.parametrize("dialect, name", SIZES)
def test_sizes(dialect, name):
    model = build(name, dialect=dialect)
    trainable = sum(array.value.size for array in model.parameters())
    everything = sum(array.value.size for key, array in model.named_arrays() if not key.endswith("num_batches_tracked"))
    assert (everything, trainable, everything - trainable) == SIZES[dialect, name]


def test_options_build_timm_variants():
    options = {
        "resnet50d": (25576264, {"stem": "deep", "avg_down": True}),
        "seresnet50": (28088024, {"squeeze": True}),
        "resnet50s": (25680808, {"stem": "deep", "stem_width": 64}),
    }
    for size, changes in options.values():
        model = build("resnet50", dialect="timm", **changes)
        assert sum(parameter.value.size for parameter in model.parameters()) == size
        assert model.spec.options == changes


def test_a_softmax_head_keeps_its_scores():
    model = initialize(build("resnet18", 7, dialect="keras-tutorial-b"))
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    scores, probabilities = model.logits(x), model(x)
    assert model.softmax is not None and "softmax" not in "".join(model.state_dict())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(probabilities, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), rtol=1e-5)
    recorded, pullback = model.logits_vjp(x)
    np.testing.assert_array_equal(recorded, scores)
    assert pullback(np.ones_like(scores)).shape == x.shape and model.conv1.weight.grad is not None


@pytest.mark.parametrize(
    "name, dialect, options, message",
    [
        ("resnet20", "keras", {}, "no resnet20 in the dialect 'keras', only resnet50"),
        ("resnet18", "pytorch-tutorial", {}, "only resnet34, resnet50"),
        ("resnet18", "klingon", {}, "unknown dialect 'klingon'; known: torchvision"),
        ("resnet20", "torchvision", {"stem": "bare"}, "resnet20 cannot begin with the stem 'bare'"),
        ("preresnet50", "torchvision", {"squeeze": True}, "no place for squeeze"),
        ("plain18", "torchvision", {"shortcut": "C"}, "no place for shortcut"),
        ("resnet50", "torchvision", {"stem": "bare"}, "cannot begin with the stem 'bare'"),
        ("resnet50", "torchvision", {"pool": "sane"}, "pool='sane': use one of 'padded'"),
        ("resnet50", "torchvision", {"colour": 1}, "unknown option"),
        ("resnet50", "torchvision", {"norm": "layer"}, "norm='layer': use one of 'batch', 'group'"),
        ("resnet50", "torchvision", {"activation": "tanh"}, "use one of 'relu', 'leaky_relu', 'gelu', 'silu'"),
        (
            "resnet20",
            "torchvision",
            {"norm": "group", "norm_groups": 3},
            "norm_groups=3 does not divide the 16 channels",
        ),
        ("resnet20", "torchvision", {"norm": "group", "momentum": 0.2}, "momentum has no effect with norm='group'"),
        ("resnet20", "torchvision", {"norm_groups": 4}, "norm_groups has no effect with norm='batch'"),
        ("resnet20", "torchvision", {"negative_slope": 0.2}, "negative_slope has no effect .*activation='relu'"),
    ],
)
def test_refusals_name_the_cure(name, dialect, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, dialect=dialect, **options)


def test_dialects_are_immutable_descriptions():
    with pytest.raises(AttributeError):
        DIALECTS["keras"].eps = 1
    assert details("resnet50", "keras").eps == 1.001e-5 and details("preresnet50", "keras").stride_in == "last"
    assert build("preresnet50", dialect="keras").preprocessing == "tf"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_value_and_recording_agree_and_the_pullback_is_the_adjoint(dialect):
    name = "resnet50" if dialect in ("caffe", "keras", "keras-tutorial-a") else "resnet34"
    model = initialize(build(name, 5, dialect=dialect)).astype(np.float64)
    rng = np.random.default_rng(1)
    x, dx = rng.standard_normal((2, 1, 3, 40, 40))
    y, pullback = model.logits_vjp(x)
    np.testing.assert_array_equal(y, model.logits(x))
    u = rng.standard_normal(y.shape)
    h = 1e-6
    slope = (model.logits(x + h * dx) - model.logits(x - h * dx)) / (2 * h)
    np.testing.assert_allclose((pullback(u) * dx).sum(), (u * slope).sum(), rtol=1e-5, atol=1e-8 * abs(slope).max())


@pytest.mark.parametrize("shortcut", ["A", "A-appended"])
def test_shortcut_a_cannot_lose_channels(shortcut):
    with pytest.raises(ValueError, match=r"cannot go from 128 to 64.*use shortcut='B'"):
        build("resnet18", stem="deep", stem_width=64, shortcut=shortcut)
    build("resnet18", stem="deep", stem_width=32, shortcut=shortcut)
