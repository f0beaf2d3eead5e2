"""Sizes and details that make other networks of a name: held to PyTorch, saved, loaded, run by the engine, refused."""

import json
from functools import partial

import numpy as np
import pytest

from npresnet import WeightsError, load_model, optimize, read_weights, save_weights, summary, use
from npresnet.models import Spec, build
from npresnet.nn import initialize
from npresnet.verify.torch_model import torch_results

from ..support import oracles
from ..support.steps import assert_parity, batch, ours, spread, theirs
from ..support.torch_networks import TorchNetwork

SMALL = {"depths": (1, 1, 1), "width": 8}
DEEP = {"stem_width": 32, "stem_type": "deep"}  # as timm says it
TIERED = {"stem_width": 32, "stem_type": "deep_tiered"}
CIFAR = {"stem": "3x3", "pool": "none"}
NETWORKS = [  # (name, options)
    ("resnet18", {**SMALL, **CIFAR}),
    ("resnet50", {"depths": (2, 1, 1, 1), "width": 16, "groups": 4, "base_width": 8, **CIFAR}),
    ("resnext50_32x4d", {"depths": (1, 1, 2), "width": 32, "groups": 2}),
    ("wide_resnet50_2", {**SMALL, "stem": "5x5"}),
    ("plain18", {**SMALL, "stem": "5x5", "stem_stride": 2, "pool": "none"}),
    ("resnet18", {**SMALL, "stem_stride": 1}),
    ("resnet34", {**SMALL, "stem": "deep", "stem_width": 6, "stem_stride": 1, "avg_down": True}),
    ("resnet20", {"depths": (1, 1, 1, 2), "width": 4}),
    ("resnet20", {"depths": (1, 2, 1), "stem": "7x7", "pool": "padded"}),
    ("plain20", {"depths": (1, 1, 1, 1), "width": 4}),
    ("preresnet18", {**SMALL, **CIFAR}),
    ("preresnet50", {**SMALL, **CIFAR, "stem_norm": False}),
    ("preresnet110", {"depths": (1, 1, 1, 1), "width": 8}),
    ("preresnet164", {"depths": (2, 1, 1), "width": 4}),
    ("resnet20", {"depths": (1, 1), "width": 8, "stem_channels": 4, "shortcut": "B"}),
    ("resnet18", {"depths": (1, 1, 1, 1, 1), "width": 4, "output_stride": 16}),
    ("resnet18", {"depths": (1, 2, 2, 2), "width": 4, "output_stride": 8, "avg_down": True}),
    ("resnet50", {"depths": (1, 1, 2, 2), "width": 8, "output_stride": 16, "shortcut": "C", "avg_down": True}),
    ("resnet50", {"depths": (1, 1, 2), "width": 8, "output_stride": 8, "padding": "same", "stride_on": "1x1"}),
    ("resnet20", {"depths": (1, 1, 2, 1), "width": 4, "output_stride": 16, "shortcut": "A"}),
    ("plain18", {"depths": (1, 1, 1, 2), "width": 4, "output_stride": 16}),
    ("preresnet18", {"depths": (1, 1, 2, 1), "width": 4, "output_stride": 8}),
    ("preresnet50", {"depths": (1, 1, 1, 2), "width": 4, "output_stride": 16}),
    ("preresnet18", {**SMALL, **CIFAR, "stem_norm": False, "final_norm": False, "first_block": "as-others"}),
    ("preresnet50", {**SMALL, "final_norm": False, "first_block": "as-others"}),
    ("preresnet50", {**SMALL, "stem_norm": False, "projection_of": "x"}),
    ("resnet18", {**SMALL, "antialias": "average"}),
    ("resnet18", {"depths": (1, 1, 1, 1), "width": 4, "antialias": "blur", "output_stride": 16}),
    ("resnet50", {"depths": (1, 1, 2), "width": 4, "antialias": "blur", "stem": "deep", "avg_down": True}),
    ("resnet50", {"depths": (1, 1, 2), "width": 4, "antialias": "average", "pool": "conv"}),
    ("resnet20", {"depths": (1, 1, 1), "width": 4, "antialias": "blur", "shortcut": "B"}),
    ("resnet18", {**SMALL, "attention": "eca", "stem": "tiered", "stem_width": 8, "avg_down": True}),
    ("resnet50", {"depths": (1, 1, 1), "width": 64, "attention": "eca"}),
    ("resnet50", {**SMALL, "attention": "se", "squeeze_ratio": 0.25, "pool": "conv", "stem": "deep"}),
    ("resnet18", {**SMALL, "squeeze": True, "pool": "conv", "antialias": "blur"}),
    ("resnet50", {**SMALL, "branch_activation": "leaky_relu", "activation": "silu"}),
]


def small(name, options):
    return spread(build(name, 5, **options), 1, 32)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name, options", NETWORKS, ids=str)
def test_a_step_is_pytorchs(name, options, training):
    model = small(name, options).train(training)
    x, labels = batch(model, 2, 32)
    assert_parity(ours(model, x, labels), theirs(TorchNetwork(model.spec), model, x, labels))


@pytest.mark.parametrize("name, options", NETWORKS, ids=str)
def test_it_is_saved_loaded_and_summarised_as_it_is(name, options, tmp_path):
    model = small(name, options)
    again = load_model(save_weights(model, tmp_path / "net.npz"))
    assert again.spec == model.spec == Spec.from_json(model.spec.to_json()) and again.spec.options == options
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    with use("numpy"):
        np.testing.assert_array_equal(again(x), model(x))
    table = summary(model, (1, 3, 32, 32))
    assert table.parameters == sum(p.value.size for p in model.parameters()) and table.rows[-1].output_shape == (1, 5)
    assert table.options == options and all(key in str(table).splitlines()[0] for key in options)


@pytest.mark.parametrize(
    "name, options", [row for row in NETWORKS if row[1].keys() & {"antialias", "attention"}], ids=str
)
def test_npresnet_s_own_comparison_with_torch_knows_every_layer(name, options):
    pytest.importorskip("torch")
    model = small(name, options).astype(np.float64)
    x, labels = batch(model, 2, 32)
    found = torch_results(model, x, labels, training=False)
    assert_close(model(x), found["logits: eval"])
    assert {f"gradient: eval {key}" for key, _ in model.named_parameters()} <= found.keys()


@pytest.mark.parametrize("name, options", NETWORKS, ids=str)
def test_the_engine_computes_the_same(name, options):
    model = small(name, options)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 64), np.float32)
    wanted = model(x)
    np.testing.assert_allclose(optimize(model)(x), wanted, rtol=0, atol=1e-4 * abs(wanted).max())


def theirs_of(net, model, x):
    """The scores of a PyTorch module with the model's arrays."""
    torch = oracles.torch()
    net.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in model.state_dict().items()})
    with torch.no_grad():
        return net.eval().double()(torch.from_numpy(x).double()).numpy()


@pytest.mark.parametrize(
    "name, depths, sizes, block",
    [
        ("resnet50", (1, 2, 1, 1), {"groups": 4, "base_width": 12}, "Bottleneck"),
        ("resnext50_32x4d", (1, 1, 1, 1), {"groups": 32, "base_width": 4}, "Bottleneck"),
        ("resnet18", (2, 1, 1, 1), {}, "BasicBlock"),
    ],
)
@pytest.mark.parametrize("cifar", [False, True])
def test_torchvision_s_class_of_these_sizes(name, depths, sizes, block, cifar):
    module, torch = oracles.torchvision_models().resnet, oracles.torch()
    groups, width = sizes.get("groups", 1), sizes.get("base_width", 64)
    net = module.ResNet(getattr(module, block), depths, num_classes=5, groups=groups, width_per_group=width)
    if cifar:  # as nearly everybody changes it for 32×32 images
        net.conv1, net.maxpool = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.Identity()
    model = initialize(build(name, 5, depths=depths, **sizes, **(CIFAR if cifar else {})))
    assert [(key, a.shape) for key, a in model.state_dict().items()] == [
        (key, tuple(a.shape)) for key, a in net.state_dict().items()
    ]
    x = batch(model, 2, 32)[0]
    assert_close(model.astype(np.float64)(x), theirs_of(net, model, x))


@pytest.mark.parametrize("output_stride, dilate", [(8, [False, True, True]), (16, [False, False, True])])
def test_torchvision_s_dilations(output_stride, dilate):
    module = oracles.torchvision_models().resnet
    net = module.ResNet(module.Bottleneck, (1, 1, 2, 2), 5, replace_stride_with_dilation=dilate)
    model = initialize(build("resnet50", 5, depths=(1, 1, 2, 2), output_stride=output_stride))
    x = batch(model, 1, 64)[0]
    assert_close(model.astype(np.float64)(x), theirs_of(net, model, x))


@pytest.mark.parametrize("name, block", [("resnet18", "BasicBlock"), ("resnet50", "Bottleneck")])
@pytest.mark.parametrize(
    "ours, timms",
    [
        ({"output_stride": 8}, {"output_stride": 8}),
        ({"output_stride": 16, "avg_down": True}, {"output_stride": 16, "avg_down": True}),
        ({"output_stride": 8, "avg_down": True}, {"output_stride": 8, "avg_down": True}),
        ({"antialias": "average"}, {"aa_layer": "average"}),
        ({"antialias": "average", "stem": "deep", "avg_down": True}, {"aa_layer": "average", **DEEP, "avg_down": True}),
        ({"antialias": "blur"}, {"aa_layer": "blur"}),
        ({"antialias": "blur", "output_stride": 16}, {"aa_layer": "blur", "output_stride": 16}),
        ({"antialias": "blur", "pool": "conv"}, {"aa_layer": "blur", "replace_stem_pool": True}),
        ({"attention": "eca", "stem": "tiered"}, {"block_args": {"attn_layer": "eca"}, **TIERED}),
        (
            {"attention": "se", "squeeze_ratio": 0.25, "stem": "deep", "pool": "conv", "avg_down": True},
            {"block_args": {"attn_layer": "se/4"}, **DEEP, "replace_stem_pool": True, "avg_down": True},
        ),
    ],
    ids=str,
)
def test_timm_s_class_with_these_details(library, name, block, ours, timms):
    module = library("timm").models.resnet
    if "aa_layer" in timms:
        timms = {
            **timms,
            "aa_layer": {"average": oracles.torch().nn.AvgPool2d, "blur": module.BlurPool2d}[timms["aa_layer"]],
        }
    if timms.get("block_args") == {"attn_layer": "se/4"}:
        timms = {**timms, "block_args": {"attn_layer": partial(module.get_attn("se"), rd_ratio=0.25)}}
    net = module.ResNet(getattr(module, block), (1, 2, 1, 2), num_classes=5, **timms)
    model = initialize(build(name, 5, depths=(1, 2, 1, 2), **ours))
    assert [(key, a.shape) for key, a in model.state_dict().items()] == [
        (key, tuple(a.shape)) for key, a in net.state_dict().items()
    ]
    x = batch(model, 2, 64)[0] if "antialias" in ours else batch(model, 2, 70)[0][:, :, :62]
    assert_close(model.astype(np.float64)(x), theirs_of(net, model, x))


class TheirPreActBlock:
    """The block of the best known CIFAR code, as a function of a state."""

    def __init__(self, state, key, stride):
        self.p = {name[len(key) + 1 :]: array for name, array in state.items() if name.startswith(f"{key}.")}
        self.stride, self.F = stride, oracles.torch().nn.functional

    def norm(self, name, x):
        p = (self.p[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return self.F.batch_norm(x, *p)

    def __call__(self, x):
        out = self.F.relu(self.norm("bn1", x))
        shortcut = (
            self.F.conv2d(out, self.p["downsample.weight"], None, self.stride) if "downsample.weight" in self.p else x
        )
        out = self.F.conv2d(out, self.p["conv1.weight"], None, self.stride, 1)
        return self.F.conv2d(self.F.relu(self.norm("bn2", out)), self.p["conv2.weight"], None, 1, 1) + shortcut


def test_the_pre_activation_network_of_cifar_code():
    """Bare 3×3 stem, the first shortcut raw, neither batch norm nor ReLU after the last block."""
    torch = oracles.torch()
    options = {**CIFAR, "stem_norm": False, "first_block": "as-others", "final_norm": False}
    model = spread(build("preresnet18", 5, depths=(2, 2, 1, 1), width=8, **options), 1, 16).astype(np.float64)
    p = {key: torch.from_numpy(np.asarray(array)) for key, array in model.state_dict().items()}
    x = batch(model, 2, 16)[0]
    y = torch.nn.functional.conv2d(torch.from_numpy(x), p["conv1.weight"], None, 1, 1)
    for stage, depth in enumerate((2, 2, 1, 1), start=1):
        for j in range(depth):
            y = TheirPreActBlock(p, f"layer{stage}.{j}", 2 if stage > 1 and j == 0 else 1)(y)
    y = y.mean((2, 3)) @ p["fc.weight"].T + p["fc.bias"]
    assert_close(model(x), y.numpy())
    assert not {"bn.weight", "bn1.weight"} & p.keys()


def assert_close(found, wanted, tolerance=1e-9):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * abs(wanted).max())


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet50", {"depths": ()}, r"depths=\(\): give up to 6 whole numbers"),
        ("resnet50", {"depths": (1, 2, 0)}, "give up to 6 whole numbers"),
        ("resnet50", {"depths": 3}, "give up to 6 whole numbers"),
        ("resnet50", {"width": 0}, "width=0: give a whole number from 1"),
        ("resnet50", {"width": 1.5}, "width=1.5: give"),
        ("resnet50", {"groups": True}, "groups=True: give"),
        ("resnet50", {"width": 8, "base_width": 4}, "leaves a group without channels"),
        ("resnet18", {"groups": 2, "base_width": 3}, "resnet18 has no place for base_width, groups"),
        ("preresnet50", {"groups": 2}, "preresnet50 has no place for groups"),
        ("resnet18", {"stem": "9x9"}, "stem='9x9': use one of '7x7', '5x5', '3x3'"),
        ("resnet18", {"stem_stride": 4}, "stem_stride=4: give 1, 2, or None"),
        ("resnet18", {"stem_stride": True}, "stem_stride=True: give"),
        ("resnet18", {"output_stride": 4}, "output_stride=4: give 8, 16 or 32"),
        ("resnet18", {"output_stride": 16.0}, "output_stride=16.0: give"),
        ("preresnet50", {"output_stride": 16, "stride_in": "last"}, "it needs stride_in='first'"),
        ("resnet18", {"final_norm": False}, "resnet18 has no place for final_norm"),
        ("preresnet18", {"first_block": "raw"}, "first_block='raw': use one of 'paper', 'as-others'"),
        ("resnet18", {"antialias": "blurry"}, "antialias='blurry': use one of 'none', 'average', 'blur'"),
        ("resnet18", {"antialias": "blur", "pool": "ceil"}, "antialias='blur' needs pool='padded', 'conv' or 'none'"),
        ("resnet50", {"antialias": "blur", "stride_on": "1x1"}, "it needs stride_on='3x3'"),
        ("resnet50", {"attention": "eca", "squeeze": True}, "squeeze=True is attention='se'"),
        ("preresnet50", {"attention": "eca"}, "preresnet50 has no place for attention"),
        ("plain18", {"antialias": "blur"}, "plain18 has no place for antialias"),
        ("resnet18", {"stem_norm": False}, "resnet18 has no place for stem_norm"),
    ],
)
def test_what_cannot_be_says_what_can(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


def test_lists_and_numpys_numbers_are_taken_and_kept_as_plain_ones():
    model = build("resnet18", depths=[1, np.int64(1), 1], width=np.int32(8))
    assert model.spec.options == {"depths": (1, 1, 1), "width": 8} and type(model.spec.options["width"]) is int


@pytest.mark.parametrize(
    "options",
    [
        {"depths": [4096] * 4},
        {"depths": [1, 1, 4000]},
        {"width": 60000},
        {"width": 500, "depths": [1, 1, 1]},
        {"groups": 65536},
        {"base_width": 65536},
        {"stem_channels": 65536, "pool": "conv"},
        {"stem_width": 65536, "stem": "deep"},
        {"squeeze_ratio": 2.0, "squeeze": True},
        {"output_stride": 4},
        {"antialias": ["blur"]},
        {"depths": [1, 1, 1], "width": 10**15},
        {"depths": [[1], 1, 1]},
        {"depths": [1] * 10**5},
        {"depths": [True, 1, 1]},
        {"depths": {}},
        {"width": "8"},
        {"width": None},
        {"eps": [1, 1, 1]},
        {"stem_stride": [1]},
    ],
    ids=lambda options: str(options)[:40],
)
def test_hostile_sizes_are_refused_before_anything_is_built(options, tmp_path, monkeypatch):
    model = build("resnet50", 5, depths=(1, 1, 1), width=8)
    path = save_weights(model, tmp_path / "net.npz")
    checkpoint = read_weights(path)
    fields = json.loads(checkpoint.metadata["npresnet"])
    fields["spec"]["options"] = options
    checkpoint.metadata["npresnet"] = json.dumps(fields)
    save_weights(checkpoint, path)
    monkeypatch.setattr("npresnet.zoo.build", None)  # is not reached
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(path)) + 250
