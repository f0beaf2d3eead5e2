"""Every model of the family: its size, its names, its options, and any image that it may be shown."""

import numpy as np
import pytest

from npresnet import create_model, list_models, ops, use
from npresnet.models import FAMILY, Spec, build
from npresnet.nn import BatchNorm2d, Conv2d, Identity, Residual, Sequential, Subsample, ZeroPadChannels, initialize

from ..support import oracles

PARAMETERS = {  # as torchvision counts them; the CIFAR nets with option A
    "resnet18": 11689512,
    "resnet34": 21797672,
    "resnet50": 25557032,
    "resnet101": 44549160,
    "resnet152": 60192808,
    "resnext50_32x4d": 25028904,
    "resnext101_32x8d": 88791336,
    "resnext101_64x4d": 83455272,
    "wide_resnet50_2": 68883240,
    "wide_resnet101_2": 126886696,
    "resnet20": 269722,
    "resnet32": 464154,
    "resnet44": 658586,
    "resnet56": 853018,
    "resnet110": 1727962,
    "resnet1202": 19421274,
    "plain20": 269722,
    "plain32": 464154,
    "plain44": 658586,
    "plain56": 853018,
    "plain110": 1727962,
    "preresnet110": 1730522,
    "preresnet164": 1703258,
    "preresnet1001": 10327706,
}
KEYS = {
    "resnet18": 122,
    "resnet34": 218,
    "resnet50": 320,
    "resnet101": 626,
    "resnet152": 932,
    "resnext50_32x4d": 320,
    "resnext101_32x8d": 626,
    "resnext101_64x4d": 626,
    "wide_resnet50_2": 320,
    "wide_resnet101_2": 626,
}
STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def count(model):
    return sum(parameter.value.size for parameter in model.parameters())


def preactivation_count(depth):
    """What an ImageNet pre-activation net holds, added up from [R2] by hand: convolutions, batch norms, classifier."""
    expansion = 1 if depth < 50 else 4
    total, channels = 3 * 64 * 49 + 2 * 64, 64  # the stem, with its batch norm
    for stage, blocks in enumerate(STAGES[depth]):
        width = 64 * 2**stage
        for block in range(blocks):
            first = stage == block == 0
            total += 0 if first else 2 * channels  # the stem has normalized already
            total += 2 * width + (
                9 * channels * width + 9 * width**2
                if expansion == 1
                else channels * width + 9 * width**2 + 4 * width**2 + 2 * width
            )
            if channels != width * expansion or (block == 0 and stage > 0):
                total += channels * width * expansion  # the projection, without a batch norm
            channels = width * expansion
    return total + 2 * channels + 1000 * channels + 1000


def test_the_family_is_complete():
    cifar = [f"{kind}{depth}" for kind in ("resnet", "plain") for depth in (20, 32, 44, 56, 110)]
    v2 = [f"preresnet{depth}" for depth in (18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110, 164, 1001)]
    assert set(list_models()) == {*KEYS, *cifar, *v2, "resnet1202", "plain18", "plain34"}
    assert list_models() == list(FAMILY)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    assert count(build(name)) == PARAMETERS[name]


@pytest.mark.parametrize("depth", STAGES)
def test_parameter_counts_of_preactivation_nets(depth):
    assert count(build(f"preresnet{depth}")) == preactivation_count(depth)


@pytest.mark.parametrize("name, keys", KEYS.items())
def test_keys_their_order_and_shapes_are_torchvisions(name, keys):
    theirs = getattr(oracles.torchvision_models(), name)
    with oracles.torch().device("meta"):
        wanted = [(key, tuple(a.shape), str(a.dtype)) for key, a in theirs().state_dict().items()]
    found = [(key, a.shape, f"torch.{a.dtype}") for key, a in build(name).state_dict().items()]
    assert found == wanted
    assert len(found) == keys


@pytest.mark.parametrize("name, keys", KEYS.items())
def test_state_dict_sizes(name, keys):
    assert len(build(name).state_dict()) == keys


def test_plain_nets_are_resnets_less_their_shortcuts():
    for depth in (18, 34):
        plain, residual = build(f"plain{depth}").state_dict(), build(f"resnet{depth}").state_dict()
        assert [key for key in residual if "downsample" not in key] == list(plain)
    for depth in (20, 56):
        assert list(build(f"plain{depth}").state_dict()) == list(build(f"resnet{depth}").state_dict())


@pytest.mark.parametrize(
    "option, extra",
    [("A", 0), ("A-appended", 0), ("B", 2752), ("C", 2752 + 3 * (256 + 32) + 2 * (1024 + 64) + 2 * (4096 + 128))],
)
def test_shortcut_options_of_resnet20(option, extra):
    """B projects where shapes change, 16·32 + 2·32 + 32·64 + 2·64; C also in the seven other blocks."""
    model = build("resnet20", shortcut=option)
    assert count(model) == 269722 + extra
    keys = [key for key in model.state_dict() if "downsample" in key]
    assert bool(keys) == (extra > 0)
    assert all(".downsample.0.weight" in key or ".downsample.1." in key for key in keys)


@pytest.mark.parametrize("option, before, after", [("A", 8, 8), ("A-appended", 0, 16)])
def test_option_a_strides_and_puts_zeros_around_or_behind(option, before, after):
    block = build("resnet20", shortcut=option).layer2.children()["0"]
    x = np.random.default_rng(0).standard_normal((2, 16, 5, 4))
    y = block.downsample(x)
    assert y.shape == (2, 32, 3, 2)
    np.testing.assert_array_equal(y[:, before : before + 16], x[:, :, ::2, ::2])
    assert not y[:, :before].any() and not y[:, before + 16 :].any() and before + 16 + after == 32


def test_only_the_first_block_of_a_later_stage_downsamples():
    for name in ("resnet34", "resnet50", "preresnet34", "plain34"):
        model = build(name)
        strides = {key: part.stride for key, part in model.named_modules() if isinstance(part, Conv2d)}
        wanted = {2: {"resnet34": "conv1", "plain34": "conv1", "preresnet34": "conv1", "resnet50": "conv2"}[name]}
        for key, stride in strides.items():
            stage, block, *rest = key.split(".") if "." in key else (key, "0", "")
            first = stage in ("layer2", "layer3", "layer4") and block == "0"
            assert stride == (2 if key == "conv1" or (first and (rest[0] == wanted[2] or "downsample" in rest)) else 1)


@pytest.mark.parametrize("option, strided", [("3x3", "conv2"), ("1x1", "conv1")])
@pytest.mark.parametrize("name", ["resnet50", "preresnet50"])
def test_where_the_stride_sits(name, option, strided):
    block = build(name, stride_on=option).layer3.children()["0"]
    assert {key: getattr(block, key).stride for key in ("conv1", "conv2", "conv3")} == {
        key: 2 if key == strided else 1 for key in ("conv1", "conv2", "conv3")
    }
    assert build(name, dialect="paper").layer3.children()["0"].conv1.stride == 2


def test_projections_have_a_batch_norm_in_resnets_and_none_in_preactivation_nets():
    first = build("resnet50").layer1.children()["0"].downsample.children()
    assert [type(part) for part in first.values()] == [Conv2d, BatchNorm2d]
    assert isinstance(build("resnet50").layer1.children()["1"].downsample, Identity)
    assert isinstance(build("preresnet50").layer1.children()["0"].downsample, Conv2d)
    option_a = build("resnet20").layer2.children()["0"].downsample.children()
    assert [type(part) for part in option_a.values()] == [Subsample, ZeroPadChannels]


def test_a_basic_block_is_relu_of_branch_plus_shortcut():
    block = initialize(create_model("resnet18")).astype(np.float64).layer2.children()["0"].eval()
    x = np.random.default_rng(0).standard_normal((2, 64, 6, 6))
    b = block

    def norm(x, n):
        s = [parameter.value for parameter in (n.weight, n.bias, n.running_mean, n.running_var)]
        return ops.batch_norm_eval(x, *s, eps=1e-5)[0]

    with use("numpy"):
        z = ops.relu(norm(ops.conv2d(x, b.conv1.weight.value, stride=2, padding=1)[0], b.bn1))[0]
        z = norm(ops.conv2d(z, b.conv2.weight.value, padding=1)[0], b.bn2)
        s = norm(ops.conv2d(x, b.downsample.children()["0"].weight.value, stride=2)[0], b.downsample.children()["1"])
        np.testing.assert_allclose(block(x), np.maximum(z + s, 0), rtol=1e-12)
    residual, last = block.layers()
    assert isinstance(residual, Residual) and isinstance(residual.branch, Sequential) and last is block.relu


@pytest.mark.parametrize(
    "name, size",
    [
        ("resnet18", (1, 1)),
        ("resnet18", (2, 33)),
        ("resnet18", (32, 32)),
        ("resnet18", (65, 47)),
        ("resnet50", (32, 32)),
        ("plain18", (33, 33)),
        ("preresnet18", (1, 1)),
        ("preresnet18", (37, 32)),
        ("resnext50_32x4d", (16, 16)),
        ("resnet20", (1, 1)),
        ("resnet20", (4, 4)),
        ("resnet20", (33, 30)),
        ("plain20", (5, 7)),
        ("preresnet110", (4, 4)),
    ],
)
def test_any_size_down_to_a_single_pixel(name, size):
    model = create_model(name, num_classes=3)
    x = np.random.default_rng(0).standard_normal((2, 3, *size), np.float32)
    y, pullback = model.vjp(x)
    assert y.shape == (2, 3) and y.dtype == np.float32 and np.isfinite(y).all() and y.std() > 0
    dx = pullback(np.ones_like(y))
    assert dx.shape == x.shape and np.isfinite(dx).all() and dx.any()
    assert all(parameter.grad.shape == parameter.value.shape for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "plain20", "preresnet110", "preresnet18"])
def test_classes_and_channels(name):
    model = build(name, num_classes=7, in_channels=5)
    state = model.state_dict()
    assert state["conv1.weight"].shape[1] == 5 and state["fc.weight"].shape[0] == state["fc.bias"].shape[0] == 7
    assert model(np.zeros((2, 5, 8, 8), np.float32)).shape == (2, 7)
    assert (model.spec.num_classes, model.spec.in_channels, model.spec.name) == (7, 5, name)
    assert build(name).spec.num_classes == FAMILY[name].num_classes


def test_a_new_model_is_in_eval_has_no_gradients_and_only_zeros():
    model = build("resnet20")
    assert not any(part.training for part in model.modules())
    assert all(parameter.grad is None and parameter.trainable for parameter in model.parameters())
    assert not any(a.any() for key, a in model.state_dict().items() if key.endswith("weight") and a.ndim > 1)
    assert model.classes is None and model.preprocessing == "cifar10"


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20"])
def test_with_the_last_gamma_zero_every_block_starts_as_its_shortcut(name):
    model = create_model(name, zero_init_residual=True)
    x = np.random.default_rng(0).standard_normal((2, 256 if name == "resnet50" else 64, 4, 4), np.float32)
    stage = model.layer1 if name != "resnet20" else model.layer3
    block = stage.children()["1"]
    np.testing.assert_array_equal(block(abs(x)), abs(x))
    zeroed = [key for key, a in model.state_dict().items() if key.endswith("weight") and not a.any()]
    blocks = sum(isinstance(part, type(block)) for part in model.modules())
    assert len(zeroed) == blocks
    assert all(key.endswith("bn3.weight" if name == "resnet50" else "bn2.weight") for key in zeroed)


def test_details_reach_every_layer():
    model = build("resnet20", eps=1e-3, momentum=0.3, unbiased=False, conv_bias=True)
    norms = [part for part in model.modules() if isinstance(part, BatchNorm2d)]
    convs = [part for part in model.modules() if isinstance(part, Conv2d)]
    assert {(n.eps, n.momentum, n.unbiased) for n in norms} == {(1e-3, 0.3, False)} and len(norms) == 19
    assert all(c.bias is not None for c in convs) and len(convs) == 19


def test_a_spec_rebuilds_its_model():
    model = build("resnet20", 4, in_channels=1, shortcut="B", eps=1e-3)
    spec = Spec.from_json(model.spec.to_json())
    assert spec == model.spec
    copy = build(spec.name, spec.num_classes, in_channels=spec.in_channels, dialect=spec.dialect, **spec.options)
    assert {k: a.shape for k, a in copy.state_dict().items()} == {k: a.shape for k, a in model.state_dict().items()}
    assert copy.bn1.eps == 1e-3


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet19", {}, r"unknown model 'resnet19'; did you mean resnet1\d+ or .*list_models\(\)"),
        ("vgg", {}, r"unknown model 'vgg'; .*list_models\(\) names them all"),
        (None, {}, "unknown model None"),
        ("resnet18", {"dialect": "tenserflow"}, "unknown dialect 'tenserflow'; known: torchvision"),
        ("resnet18", {"num_classes": -1}, "num_classes is a whole number of at least 0, not -1"),
        ("resnet18", {"in_channels": -1}, "in_channels is a whole number of at least 1, not -1"),
        ("resnet18", {"shortcut": "D"}, "shortcut='D': use one of 'A', 'A-appended', 'B'"),
        *[
            (
                "resnet18",
                {"shortcut": kind, "stem": "deep", "stem_width": 64},
                f"shortcut='{kind}' adds zero channels and "
                "cannot go from 128 to 64, .*use shortcut='B', or a smaller stem_width",
            )
            for kind in ("A", "A-appended")
        ],
        ("resnet18", {"stride_on": "5x5"}, "stride_on='5x5': use one of '3x3', '1x1'"),
        (
            "resnet18",
            {"widht": 3, "depht": 2},
            r"unknown option\(s\) depht, widht; did you mean depths or width\? Known",
        ),
    ],
)
def test_bad_names_and_options_say_what_is_possible(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


def test_a_image_with_other_channels_says_so():
    with pytest.raises(ValueError, match=r"expect 3 channels .* x has 4 channels"):
        create_model("resnet20")(np.zeros((1, 4, 8, 8), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_model_runs_and_sends_a_gradient_to_every_parameter(name):
    if name in ("resnet1202", "preresnet1001"):
        size = 4
    else:
        size = 32 if FAMILY[name].num_classes == 1000 else 8
    model = create_model(name, num_classes=2).train()
    x = np.random.default_rng(0).standard_normal((2, 3, size, size), np.float32)
    if FAMILY[name].num_classes == 1000:
        x = np.concatenate([x, x[:, :, ::-1]])
    y, pullback = model.vjp(x, input_grad=False)
    assert np.isfinite(y).all()
    assert pullback(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)) is None
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
