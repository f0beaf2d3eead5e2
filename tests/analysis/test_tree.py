"""The tree, the bytes saved for the backward pass and the cost ledger; the PyTorch tutorial's two tables."""

import gc
import json
import tracemalloc

import numpy as np
import pytest

from npresnet import use
from npresnet.analysis.summary import summary
from npresnet.cli import main
from npresnet.models import build, list_models
from npresnet.nn import freeze_batch_norm, initialize


def lines(table):
    """(name, kind, kernel, input, output, parameters) of each row of the tree."""
    return [(row.name, row.kind, row.kernel, row.input_shape, row.output_shape, row.parameters) for row in table.tree]


def test_the_tutorials_resnet50_at_223():
    table = summary(build("resnet50", dialect="pytorch-tutorial"), (32, 3, 223, 223))
    assert lines(table)[:12] == [
        ("conv1", "Conv2d", (7, 7), (32, 3, 223, 223), (32, 64, 112, 112), 9408),
        ("bn1", "BatchNorm2d", (), (32, 64, 112, 112), (32, 64, 112, 112), 128),
        ("relu", "ReLU", (), (32, 64, 112, 112), (32, 64, 112, 112), 0),
        ("maxpool", "MaxPool2d", (3, 3), (32, 64, 112, 112), (32, 64, 56, 56), 0),
        ("layer1", "Sequential", (), (32, 64, 56, 56), (32, 256, 56, 56), 0),
        ("layer1.0", "Bottleneck", (), (32, 64, 56, 56), (32, 256, 56, 56), 0),
        ("layer1.0.conv1", "Conv2d", (1, 1), (32, 64, 56, 56), (32, 64, 56, 56), 4096),
        ("layer1.0.bn1", "BatchNorm2d", (), (32, 64, 56, 56), (32, 64, 56, 56), 128),
        ("layer1.0.relu", "ReLU", (), (32, 64, 56, 56), (32, 64, 56, 56), 0),
        ("layer1.0.conv2", "Conv2d", (3, 3), (32, 64, 56, 56), (32, 64, 56, 56), 36864),
        ("layer1.0.bn2", "BatchNorm2d", (), (32, 64, 56, 56), (32, 64, 56, 56), 128),
        ("layer1.0.relu", "ReLU", (), (32, 64, 56, 56), (32, 64, 56, 56), 0),
    ]
    assert lines(table)[-1] == ("fc", "Linear", (), (32, 2048), (32, 1000), 2049000)
    assert [row.name for row in table.rows].count("layer1.0.relu") == 3  # once a call
    assert table.parameters == 25557032


def test_the_tutorials_resnet34_at_224():
    table = summary(build("resnet34", dialect="pytorch-tutorial"), (32, 3, 224, 224))
    rows = {(name, kind): rest for name, kind, *rest in lines(table)}
    assert rows["conv1", "Conv2d"] == [(7, 7), (32, 3, 224, 224), (32, 64, 112, 112), 9472]
    assert rows["layer1", "Sequential"][1:3] == [(32, 64, 56, 56), (32, 64, 56, 56)]
    assert rows["layer1.0.downsample.0", "Conv2d"] == [(1, 1), (32, 64, 56, 56), (32, 64, 56, 56), 4160]
    assert rows["layer4.2", "BasicBlock"][1:3] == [(32, 512, 7, 7), (32, 512, 7, 7)]
    assert table.parameters == 21810472


@pytest.mark.parametrize(
    "name, shape",
    [
        ("resnet18", (4, 3, 64, 64)),
        ("resnet50", (2, 3, 96, 96)),
        ("resnet20", (16, 3, 32, 32)),
        ("preresnet110", (4, 3, 32, 32)),
    ],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_saved_bytes_are_what_a_training_step_holds(name, shape, frozen):
    model = initialize(build(name)).train()
    if frozen:
        freeze_batch_norm(model)
    x = np.zeros(shape, np.float32) + np.arange(shape[-1], dtype=np.float32) / 7
    with use("numpy"):
        model(x)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        y, pullback = model.vjp(x)
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    told = summary(model, shape).saved_bytes - x.nbytes  # the input is the caller's
    assert held == pytest.approx(told + y.nbytes, rel=0.06)
    pullback(y)


def test_flops_are_two_for_each_mac():
    table = summary(build("resnet50"))
    assert table.macs == 4089184256 and table.flops == 2 * table.macs
    data = json.loads(json.dumps(table.to_dict()))
    assert data["flops"] == data["macs"] * 2 and data["rows"][0]["flops"] == 2 * data["rows"][0]["macs"]
    assert data["rows"][0]["kernel"] == [7, 7] and len(data["tree"]) > len(data["rows"])
    assert "8,178,368,512 FLOPs" in str(table) and "25,610,152 in total, 53,120 non-trainable" in str(table)


def test_the_tree_is_indented_and_in_order():
    text = str(summary(build("resnet18"))).splitlines()
    start = next(i for i, line in enumerate(text) if line.startswith("layer2"))
    assert [line.split()[0] for line in text[start : start + 3]] == ["layer2", "0", "conv1"]
    assert text[start + 1].startswith("  0 ") and text[start + 2].startswith("    conv1 ")


def test_the_ledger_adds_a_time_to_every_row():
    model = initialize(build("resnet18", 5)).train()
    state = model.state_dict()
    table = summary(model, (2, 3, 33, 40), measure=True)
    assert all(row.seconds > 0 for row in table.rows) and table.seconds == sum(row.seconds for row in table.rows)
    assert lines(table) == lines(summary(model, (2, 3, 33, 40))) and table.macs == summary(model, (2, 3, 33, 40)).macs
    assert "GFLOP/s" in str(table) and "ms for all layers" in str(table) and model.training
    assert all(state[key] is array for key, array in model.state_dict().items())  # nothing was trained


def test_command_line(capsys):
    arguments = ["--dialect", "keras-tutorial-b", "--input", "1x3x32x32", "--time", "--json"]
    assert main(["summary", "resnet18", *arguments]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["parameters"] + data["buffers"] == 11703912 and data["seconds"] > 0 < data["rows"][0]["seconds"]
    assert main(["summary", "resnet20", "--dialect", "keras"]) == 2
    assert "there is no resnet20 in the dialect 'keras'" in capsys.readouterr().err


def test_gates_have_rows_too():
    table = summary(build("resnet50", dialect="timm", squeeze=True, stem="deep"), (1, 3, 64, 64), measure=True)
    names = [row.name for row in table.tree]
    assert {"conv1.0", "layer1.0.se", "layer1.0.se.fc1"} <= set(names)
    assert sum(row.parameters for row in table.rows) == table.parameters


def test_every_tree_has_its_leaves():
    for name in list_models():
        if name not in ("resnet1202", "preresnet1001"):
            table = summary(build(name), (1, 3, 64, 64))
            assert [row.name for row in table.rows] == [row.name for row in table.tree if not row.inside]
            assert all(row.input_shape and row.output_shape for row in table.tree)
