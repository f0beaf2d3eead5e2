"""What ``npresnet diff`` says of the dialects."""

import json

import numpy as np
import pytest

from npresnet.analysis.diff import diff, drawn, layers
from npresnet.analysis.summary import summary
from npresnet.cli import main
from npresnet.models import DIALECTS, Dialect, build
from npresnet.models.dialect_meanings import MEANING


def test_every_detail_has_a_meaning():
    assert set(MEANING) == {field for field in Dialect.__dataclass_fields__ if field != "name"}


def test_keras_against_torchvision():
    found = diff("keras", "torchvision")
    by_name = {detail.field: detail for detail in found.details}
    assert set(by_name) == {"stride_on", "conv_bias", "eps", "momentum", "unbiased", "softmax", "preprocessing"}
    assert by_name["stride_on"].effect > 0.01 < by_name["conv_bias"].effect
    assert by_name["momentum"].effect is None and 1e-8 < by_name["eps"].effect < 1e-6
    assert ("MACs at 224×224", 3857973248, 4089184256) in found.numbers
    assert ("parameters", 25583592, 25557032) in found.numbers
    strides = {(what, a, b): names for names, what, a, b in found.layers}
    assert strides["stride", "2", "1"] == ("layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1")
    assert len(strides["bias", "yes", "no"]) == 53
    json.dumps(found.to_dict())


def test_the_output_difference_is_that_of_two_real_runs():
    found = diff("torchvision", "caffe", "resnet18", side=40, seed=3)
    one, two = (build("resnet18", dialect=name).astype(np.float64) for name in ("torchvision", "caffe"))
    for net in (one, two):
        net.load_state_dict(drawn(build("resnet18"), 3))
    x = np.random.default_rng(3).standard_normal((1, 3, 40, 40))
    assert found.output == pytest.approx(abs(two.logits(x) - one.logits(x)).max() / abs(one.logits(x)).max())
    assert found.output > 1e-3


def test_dialects_that_only_name_things_differently_give_the_same_numbers():
    found = diff("torchvision", "pytorch-tutorial", "resnet50", side=32)
    assert found.details == () and found.output == 0


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name not in ("keras", "torchvision")])
def test_every_dialect_can_be_compared(dialect):
    name = "resnet34" if dialect not in ("keras-tutorial-a",) else "resnet50"
    found = diff("torchvision", dialect, name, side=32)
    assert (found.output is None) == (dialect == "pytorch-tutorial")  # its first stage has a projection more


def test_group_norms_and_slopes_are_named_layer_by_layer():
    nets = [
        build("resnet20", norm="group", norm_groups=g, activation="leaky_relu", negative_slope=a)
        for g, a in ((2, 0.1), (4, 0.2))
    ]
    found = layers(*nets, *(summary(net, (1, 3, 32, 32)) for net in nets))
    assert {(what, a, b) for _, what, a, b in found} == {("groups", "2", "4"), ("slope", "0.1", "0.2")}
    plain = build("resnet20")
    found = layers(plain, nets[0], *(summary(net, (1, 3, 32, 32)) for net in (plain, nets[0])))
    assert {("layer", "batch norm", "group norm"), ("layer", "ReLU", "LeakyReLU")} <= {change[1:] for change in found}


def test_command_line(capsys):
    assert main(["diff", "keras", "torchvision"]) == 1
    text = capsys.readouterr().out
    assert "stride_on: 1x1 → 3x3     (alone it moves the scores by" in text and "53 and" not in text
    assert "eps: 1.001e-05 → 1e-05     (alone it moves the scores by" in text and "(no score moves)" not in text
    assert "layer2.0.conv1, layer3.0.conv1, layer4.0.conv1" in text and "No detail" not in text
    assert "becomes (24.06, 11.22, 4.32)" in text and "becomes (0.07, 0.21, 0.43)" in text
    assert main(["diff", "timm", "timm", "--model", "resnet18"]) == 0
    assert "No detail differs" in capsys.readouterr().out
    assert main(["diff", "keras", "torchvision", "--model", "resnet20"]) == 2
    assert "there is no resnet20 in the dialect 'keras'" in capsys.readouterr().err
    assert main(["diff", "caffe", "paper", "--model", "resnet18", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["model"] == "resnet18"
