"""The cost table against the published numbers, and its shapes against a real run."""

import json
import tracemalloc

import numpy as np
import pytest

from npresnet.analysis.summary import summary
from npresnet.models import build, list_models
from npresnet.nn import BatchNorm2d, Chain, Conv2d, GroupNorm, MaxPool2d, Module, Residual, Sequential

TORCHVISION = {  # parameters and MACs at 224x224
    "resnet18": (11689512, 1814073344),
    "resnet34": (21797672, 3663761408),
    "resnet50": (25557032, 4089184256),
    "resnet101": (44549160, 7801405440),
    "resnet152": (60192808, 11513626624),
    "resnext50_32x4d": (25028904, 4230479872),
    "resnext101_32x8d": (88791336, 16414015488),
    "resnext101_64x4d": (83455272, 15460270080),
    "wide_resnet50_2": (68883240, 11398021120),
    "wide_resnet101_2": (126886696, 22753050624),
}
STRIDE_ON_FIRST = {"resnet50": 3857973248, "resnet101": 7570194432, "resnet152": 11282415616}
CIFAR = {  # option A at 32x32
    "resnet20": (269722, 40551040),
    "resnet32": (464154, 68862592),
    "resnet44": (658586, 97174144),
    "resnet56": (853018, 125485696),
    "resnet110": (1727962, 252887680),
    "resnet1202": (19421274, None),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_imagenet_costs(name):
    table = summary(build(name))
    assert (table.parameters, table.macs) == TORCHVISION[name]
    assert table.parameters == sum(row.parameters for row in table.rows)
    assert table.trainable == table.parameters and table.frozen == 0


@pytest.mark.parametrize("name", STRIDE_ON_FIRST)
def test_costs_with_the_stride_on_the_first_convolution(name):
    assert summary(build(name, stride_on="1x1")).macs == STRIDE_ON_FIRST[name]


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_costs(name):
    parameters, macs = CIFAR[name]
    table = summary(build(name), (1, 3, 32, 32))
    assert table.parameters == parameters and macs in (None, table.macs)
    projected = summary(build(name, shortcut="B"), (1, 3, 32, 32))
    assert projected.parameters == parameters + 2752


def test_keras_counts_running_statistics_as_parameters():
    table = summary(build("resnet50"))
    assert (table.parameters + table.buffers, table.buffers) == (25610152, 53120)
    assert table.weight_bytes == 4 * (25610152 + 53)  # and 53 counters of batches


def real_shapes(model, shape, monkeypatch):
    """The kind and output shape of every layer call in a real run."""
    seen, call = [], Module.__call__

    def recording(self, x):
        y = call(self, x)
        seen.append((type(self).__name__, y.shape))
        return y

    monkeypatch.setattr(Module, "__call__", recording)  # Chain, Residual and Identity have their own
    model(np.zeros(shape, np.float32))
    return seen


@pytest.mark.parametrize(
    "name, options, shape",
    [
        ("resnet18", {}, (2, 3, 65, 50)),
        ("resnet50", {"stride_on": "1x1"}, (1, 3, 33, 34)),
        ("plain18", {}, (1, 3, 1, 1)),
        ("resnet20", {"shortcut": "A"}, (3, 3, 31, 32)),
        ("resnet20", {"shortcut": "A-appended"}, (1, 3, 8, 5)),
        ("resnet32", {"shortcut": "C", "in_channels": 1}, (1, 1, 9, 9)),
        ("preresnet18", {}, (1, 3, 40, 41)),
        ("preresnet110", {}, (1, 3, 16, 16)),
        ("plain20", {"num_classes": 3}, (2, 3, 32, 32)),
    ],
)
def test_shapes_equal_a_real_run(name, options, shape, monkeypatch):
    model = build(name, **options)
    table = summary(model, shape)
    assert [(row.kind, row.output_shape) for row in table.rows] == real_shapes(model, shape, monkeypatch)


@pytest.mark.parametrize("kernel, stride, padding", [(3, 2, 1), (2, 2, 0), ((3, 2), (2, 1), 1), (3, 2, "same")])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pooling_windows(kernel, stride, padding, ceil_mode):
    model = Sequential(
        MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode), Conv2d(2, 4, 3, 2, "same", groups=2, bias=True)
    )
    for height, width in ((7, 8), (9, 6)):
        x = np.zeros((1, 2, height, width), np.float32)
        row = summary(model, x.shape).rows[-1]
        assert row.output_shape == model(x).shape and row.parameters == 4 * 9 + 4
        assert row.macs == np.prod(row.output_shape) * 9


def test_a_layer_used_twice_has_a_row_for_each_call():
    rows = summary(build("resnet18"), (1, 3, 32, 32)).rows
    assert [row.name for row in rows].count("layer1.0.relu") == 2
    shared = Conv2d(3, 3, 1)

    class Twice(Chain):
        def __init__(self):
            self.conv = shared

        def layers(self):
            return self.conv, self.conv

    assert [row.parameters for row in summary(Twice(), (1, 3, 4, 4)).rows] == [9, 0]


def test_batches_scale_costs_and_nothing_else():
    one, many = (summary(build("resnet20"), (n, 3, 32, 32)) for n in (1, 64))
    assert many.macs == 64 * one.macs and many.output_bytes == 64 * one.output_bytes
    assert many.parameters == one.parameters and many.rows[0].output_shape == (64, 16, 32, 32)


def test_group_norms_and_activations_have_their_costs():
    plain = summary(build("resnet20"), (2, 3, 32, 32))
    groups, smooth = (
        summary(build("resnet20", norm="group", activation=name), (2, 3, 32, 32)) for name in ("relu", "gelu")
    )
    assert groups.parameters == plain.parameters and groups.macs == plain.macs and groups.buffers == 0
    assert groups.saved_bytes == plain.saved_bytes
    first, second = ({row.name: row for row in table.rows} for table in (groups, smooth))
    assert first["bn1"].kind == "GroupNorm" and first["bn1"].parameters == 32 and second["relu"].kind == "GELU"
    assert first["bn1"].saved_bytes == first["relu"].saved_bytes == 4 * 2 * 16 * 32 * 32
    assert second["relu"].saved_bytes == second["layer1.0.conv1"].saved_bytes == 4 * 2 * 16 * 32 * 32  # what it reads
    with pytest.raises(ValueError, match="0 cannot take 1x3x4x4: it reads 4 channels"):
        summary(Sequential(GroupNorm(2, 4)), (1, 3, 4, 4))


def test_frozen_parameters_are_told_apart():
    model = build("resnet20")
    model.conv1.weight.trainable = False
    table = summary(model, (1, 3, 32, 32))
    assert table.frozen == 432 and table.trainable == table.parameters - 432


def test_the_model_is_left_alone_even_in_training():
    model = build("resnet20").train()
    before = {name: array.value for name, array in model.named_arrays()}
    summary(model, (1, 3, 32, 32))
    assert model.training and all(array.value is before[name] for name, array in model.named_arrays())


def test_large_images_cost_no_memory():
    model = build("resnet18")
    tracemalloc.start()
    table = summary(model, (1000, 3, 8000, 8000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.rows[0].output_shape == (1000, 64, 4000, 4000) and peak < 2e6


@pytest.mark.parametrize(
    "shape, message",
    [
        ((1, 4, 224, 224), r"conv1 cannot take 1x4x224x224: it reads 3 channels"),
        ((1, 3, 0, 9), "at least 1"),
        ((3, 224, 224), r"\(N, C, H, W\)"),
    ],
)
def test_shapes_that_cannot_pass(shape, message):
    with pytest.raises(ValueError, match=message):
        summary(build("resnet18"), shape)


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="they cannot be added"):
        summary(Sequential(Residual(Conv2d(3, 4, 1), Conv2d(3, 5, 1))), (1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"^1 cannot take 1x3x2x2: an image of 2x2"):
        summary(Sequential(BatchNorm2d(3), MaxPool2d(3, 1)), (1, 3, 2, 2))


class Gated(Module):
    """y = x · mean(g(x)): a module that runs its parts in its own way."""

    def __init__(self):
        self.gate = Sequential(Conv2d(3, 3, 1, bias=True), MaxPool2d(2, 2))

    def __call__(self, x):
        return x * self.gate(x).mean(axis=(2, 3), keepdims=True)


def test_modules_with_code_of_their_own_are_run_with_their_parts_watched():
    model = Sequential(Gated(), Conv2d(3, 5, 3))
    parts = dict(model.named_modules())
    rows = summary(model, (2, 3, 8, 8)).rows
    assert [(row.name, row.output_shape, row.parameters, row.macs) for row in rows] == [
        ("0.gate.0", (2, 3, 8, 8), 12, 2 * 3 * 64 * 3),
        ("0.gate.1", (2, 3, 4, 4), 0, 0),
        ("1", (2, 5, 6, 6), 135, 2 * 5 * 36 * 27),
    ]
    assert dict(model.named_modules()) == parts  # the model itself is as it was


def test_text_json_and_html():
    table = summary(build("resnet20"), (1, 3, 32, 32))
    lines = str(table).splitlines()
    assert lines[0] == "resnet20"
    assert lines[4].split() == [
        "conv1",
        "Conv2d",
        "3x3",
        "1x3x32x32",
        "1x16x32x32",
        "432",
        "442,368",
        "884,736",
        "12,288",
    ]
    assert "269,722 (269,722 trainable, 0 frozen)" in str(table) and "40,551,040" in str(table)
    data = json.loads(json.dumps(table.to_dict()))
    assert data["macs"] == 40551040 and data["rows"][0]["output_shape"] == [1, 16, 32, 32] and data["frozen"] == 0
    html = table._repr_html_()
    assert html.count("<tr>") == len(table.tree) + 1 and "<td>&emsp;&emsp;conv1</td><td>Conv2d</td><td>3x3</td>" in html


def test_every_model_has_a_summary():
    for name in list_models():
        model = build(name)
        side = 32 if model.preprocessing == "cifar10" else 224
        table = summary(model, (1, 3, side, side))
        assert table.rows[-1].output_shape == (1, model.spec.num_classes)
        assert table.macs > 0 and sum(row.parameters for row in table.rows) == table.parameters
