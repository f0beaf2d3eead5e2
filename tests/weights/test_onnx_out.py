"""ONNX out: what is written passes ONNX's own checks, ONNX Runtime computes the same, and it loads back."""

import json

import numpy as np
import pytest

from npresnet import WeightsError, create_model, load_model, nn, save_weights
from npresnet.analysis.diff import drawn
from npresnet.cli import main
from npresnet.formats.onnx.write import OPSETS
from npresnet.models import FAMILY, list_models
from npresnet.weights import save_onnx

from ..support.libraries import images

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

VARIANTS = {  # name → the network, its dialect and the details that are changed
    "caffe": ("resnet18", {"dialect": "caffe"}),
    "keras": ("resnet50", {"dialect": "keras"}),
    "keras V2": ("preresnet50", {"dialect": "keras"}),
    "keras-tutorial-a": ("resnet50", {"dialect": "keras-tutorial-a"}),
    "keras-tutorial-b": ("resnet18", {"dialect": "keras-tutorial-b"}),
    "pytorch-tutorial": ("resnet34", {"dialect": "pytorch-tutorial"}),
    "everything of timm's": ("resnet18", {"stem": "deep", "avg_down": True, "squeeze": True, "width": 16}),
    "shortcut A": ("resnet18", {"shortcut": "A"}),
    "shortcut A, appended": ("resnet20", {"shortcut": "A-appended"}),
    "shortcut C": ("resnet20", {"shortcut": "C"}),
    "same": ("resnet50", {"padding": "same", "pool": "same", "stride_on": "1x1"}),
    "zeros around the pool": ("resnet18", {"pool": "zeros"}),
    "one channel": ("resnet20", {"in_channels": 1}),
    "pre-activation": ("preresnet110", {}),
    "group norm": ("resnet50", {"norm": "group", "norm_groups": 4}),
    "leaky ReLU": ("resnet18", {"activation": "leaky_relu", "negative_slope": 0.2}),
    "GELU": ("resnet18", {"activation": "gelu"}),
    "SiLU": ("preresnet50", {"activation": "silu", "norm": "group", "norm_groups": 2}),
    "dilated": ("resnet50", {"output_stride": 8, "avg_down": True}),
    "a CIFAR stem": ("resnet18", {"stem": "3x3", "pool": "none"}),
    "pre-activation as others": ("preresnet18", {"first_block": "as-others", "final_norm": False, "stem_norm": False}),
    "antialiased by averages": ("resnet50", {"antialias": "average", "stem": "deep", "avg_down": True}),
    "antialiased by a blur": ("resnet18", {"antialias": "blur", "output_stride": 16}),
    "ECA": ("resnet50", {"attention": "eca", "stem": "tiered", "avg_down": True}),
    "ResNet-RS": (
        "resnet50",
        {"stem": "deep", "pool": "conv", "avg_down": True, "squeeze": True, "squeeze_ratio": 0.25},
    ),
    "no classifier": ("resnet18", {"num_classes": 0}),
}


def run(path, x):
    """What ONNX Runtime computes; the file must pass ONNX's checks before."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def assert_same(model, path, x):
    expected = model(x)
    found = run(path, x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def lively(model):
    drawn(model, seed=4)
    return model


def small(name, num_classes=5, **options):
    """The network's first blocks of each stage; narrow ones, unless its groups need their channels."""
    entry = FAMILY[name]
    sizes = {"depths": (1,) * len(entry.structure.depths)} | ({} if entry.structure.groups > 1 else {"width": 8})
    return lively(create_model(name, num_classes=num_classes, **{**sizes, **options}))


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize("name", list_models())
def test_every_family_runs_elsewhere(tmp_path, name, fold):
    """With one block in each stage: every kind of layer and shortcut that the name has."""
    assert_same(small(name), save_onnx(small(name), tmp_path / "net.onnx", fold=fold), images(shape=(3, 32, 40)))


@pytest.mark.parametrize("fold", [False, True], ids=["kept", "folded"])
@pytest.mark.parametrize("name, options", VARIANTS.values(), ids=list(VARIANTS))
def test_every_detail_of_a_dialect_runs_elsewhere_and_loads_back(tmp_path, name, options, fold):
    model = small(name, **options)
    model.classes = ["a", "b", "ç", "d", "e"] if model.spec.num_classes else None
    path = save_onnx(model, tmp_path / "net.onnx", fold=fold)
    x = images(shape=(options.get("in_channels", 3), 64 if "antialias" in options else 47, 64))
    assert_same(model, path, x)
    again = load_model(path)
    assert (again.spec, again.preprocessing) == (model.spec, model.preprocessing)
    assert again.classes == (model.classes and tuple(model.classes))
    np.testing.assert_allclose(again(x), model(x), rtol=0, atol=1e-6 * abs(model(x)).max() * (10 if fold else 1))
    if fold:
        return
    for key, array in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):  # which ONNX has no place for
            np.testing.assert_array_equal(again.state_dict()[key], array)


def test_folding_leaves_no_batch_norm_behind_a_convolution(tmp_path):
    graph = onnx.load(save_onnx(small("resnet18"), tmp_path / "a.onnx", fold=True)).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    graph = onnx.load(save_onnx(small("preresnet18"), tmp_path / "b.onnx", fold=True)).graph
    made = {node.output[0]: node.op_type for node in graph.node}
    norms = [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert norms and all(made[node.input[0]] != "Conv" for node in norms)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_version_of_the_operators(tmp_path, opset):
    model = small("resnet18", stem="deep", avg_down=True, squeeze=True, shortcut="B", softmax=True)
    path = save_onnx(model, tmp_path / "net.onnx", opset=opset)
    assert onnx.load(path).opset_import[0].version == opset
    assert_same(model, path, images(shape=(3, 32, 32)))


def test_sizes_are_free_unless_one_is_given(tmp_path):
    model = small("resnet20")
    session = onnxruntime.InferenceSession(save_onnx(model, tmp_path / "a.onnx"))
    assert session.get_inputs()[0].shape == ["N", 3, "height", "width"]
    assert session.get_outputs()[0].shape == ["N", 5] and session.get_outputs()[0].name == "scores"
    session = onnxruntime.InferenceSession(save_onnx(model, tmp_path / "b.onnx", size=(32, 48)))
    assert session.get_inputs()[0].shape == ["N", 3, 32, 48]


def test_the_metadata_says_what_goes_in_and_what_comes_out(tmp_path):
    model = create_model("resnet20", num_classes=2)
    model.classes = ["cat", "dog"]
    texts = {one.key: one.value for one in onnx.load(save_onnx(model, tmp_path / "a.onnx")).metadata_props}
    assert json.loads(texts["classes"]) == ["cat", "dog"]
    assert json.loads(texts["preprocessing"])["mean"] and json.loads(texts["npresnet"])["spec"]["name"] == "resnet20"


def test_convert_writes_onnx(tmp_path, capsys):
    model = create_model("resnet20", num_classes=3)
    model.classes = ["a", "b", "c"]
    source, out = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    save_weights(model, source)
    assert main(["convert", str(source), str(out), "--fold", "--size", "32", "--opset", "18"]) == 0
    assert capsys.readouterr().out == f"{out}: resnet20 as ONNX\n"
    assert_same(model, out, images(shape=(3, 32, 32)))
    before = out.read_bytes()
    assert main(["convert", str(source), str(out)]) == 2 and out.read_bytes() == before
    assert main(["convert", str(out), str(tmp_path / "b.safetensors")]) == 0
    assert load_model(tmp_path / "b.safetensors").classes == ("a", "b", "c")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["b.onnx", "--opset", "99"], "opset 99 is not written; choose one from 13 to 23"),
        (["b.onnx", "--to", "timm"], "leave out --to"),
        (["b.npz", "--fold"], "for an OUT that ends in .onnx"),
        (["b.onnx", "--size", "0"], "'0' is no size"),
    ],
)
def test_convert_refuses_in_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    save_weights(create_model("resnet20"), "a.npz")
    try:
        status = main(["convert", "a.npz", *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


class Cube(nn.Module):
    def __call__(self, x):
        return x**3


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda model: setattr(model, "relu", Cube()), "relu is a Cube, for which there is no operator"),
        (lambda model: setattr(model.conv1, "vjp", print), "conv1 has a function of its own"),
        (lambda model: model.fc.weight.__setattr__("value", model.fc.weight.value.astype("f8")), "of 2 dtypes"),
    ],
)
def test_what_onnx_cannot_say_is_refused(tmp_path, change, message):
    model = small("resnet20")
    change(model)
    with pytest.raises(WeightsError, match=message):
        save_onnx(model, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
