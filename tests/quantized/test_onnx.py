"""Quantized ONNX in the form QDQ, out and in, beside ONNX Runtime."""

import logging

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet import WeightsError, ops
from npresnet.data import example_image, preprocessing_of
from npresnet.quantized.file import holds_quantized
from npresnet.quantized.float_step import INPUT
from npresnet.weights.export_onnx import save_onnx

from ..support import oracles
from ..support.torch_quantized import images as smooth_images
from .test_quantized import images, lively


def runtime():
    return pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def session(path_or_bytes):
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path_or_bytes, options, providers=["CPUExecutionProvider"])


def scores(path, x):
    """ONNX Runtime's."""
    found = session(str(path))
    return found.run(None, {found.get_inputs()[0].name: x})[0]


def checked(path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(str(path))


NETWORKS = {
    "resnet20": {},
    "resnet18": {"width": 16, "depths": (1, 1)},
    "resnet50": {"width": 8, "depths": (1, 1, 1)},
    "resnext50_32x4d": {"width": 16, "depths": (1, 1)},
    "preresnet18": {"width": 16, "depths": (1, 1, 1)},
    "plain20": {},
}


def calibrated(name):
    return npresnet.quantize(lively(npresnet.create_model(name, **NETWORKS[name])), images(32))


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_computes_what_the_network_computes(name, tmp_path):
    """Each score within a step of the last scale; so are nearly all equal."""
    network, x = calibrated(name), images(16, seed=3)
    path = npresnet.save_quantized(network, tmp_path / "net.onnx")
    checked(path)
    steps = np.abs(scores(path, x) - network(x)) / network.steps[-1].scale
    assert steps.max() < 1.01 and (steps > 0.5).mean() < 0.1, steps.max()


def test_onnx_runtime_names_the_same_class_for_200_images(tmp_path):
    """Crops of a photo through the network that comes with the package.

    A random network makes much of the sums that lie halfway between two levels, which the two round differently.
    """
    model, x = npresnet.load_model(), crops(200)
    network = npresnet.quantize(model, x[::4])
    found, due = scores(npresnet.save_quantized(network, tmp_path / "net.onnx"), x), network(x)
    assert np.abs(found - due).max() < 1.01 * network.steps[-1].scale
    np.testing.assert_array_equal(found.argmax(1), due.argmax(1))
    assert len(set(due.argmax(1).tolist())) > 3


def crops(count):
    """Squares of the photo that comes with the package, of any size and place."""
    photo, rng, images = Image.open(example_image()).convert("RGB"), np.random.default_rng(0), []
    for size in rng.integers(64, min(photo.size), count).tolist():
        left, top = (int(rng.integers(0, length - size + 1)) for length in photo.size)
        images.append(photo.crop((left, top, left + size, top + size)).resize((32, 32)))
    how = preprocessing_of(npresnet.load_model())
    return np.concatenate([npresnet.preprocess(image, how) for image in images])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_written_is_read_again(name, tmp_path):
    network, x = calibrated(name), images(4, seed=3)
    path = npresnet.save_quantized(network, tmp_path / "net.onnx")
    again = npresnet.load_quantized(path)
    np.testing.assert_array_equal(again(x), network(x))
    assert again.spec == network.spec and again.preprocessing == network.preprocessing
    for (key, array), (other, due) in zip(again.arrays().items(), network.arrays().items()):
        assert key == other
        np.testing.assert_array_equal(array, due)


def test_the_form(tmp_path):
    """int8 weights with a scale for each filter, uint8 activations, int32 biases on the scale of the sums."""
    network = calibrated("resnet20")
    path = npresnet.save_quantized(network, tmp_path / "net.onnx", size=32, opset=13)
    graph = checked(path).graph
    onnx = pytest.importorskip("onnx")
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in graph.initializer}
    step = {step.name: step for step in network.steps}["layer1.0.conv1"]
    assert arrays["layer1.0.conv1.weight"].dtype == np.int8 and arrays["layer1.0.conv1.bias"].dtype == np.int32
    sums = np.float32({s.name: s for s in network.steps}["conv1"].scale) * step.weight_scale
    np.testing.assert_array_equal(arrays["layer1.0.conv1.bias_scale"], sums)
    np.testing.assert_allclose(arrays["layer1.0.conv1.bias"] * sums, step.bias, rtol=1e-6)
    assert all(
        array.dtype == np.uint8
        for name, array in arrays.items()
        if name.count("weight") == 0 and "zero" in name and "bias" not in name
    )
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][1:] == [3, 32, 32]
    assert path.stat().st_size < 1.5 * network.nbytes


def test_a_network_of_pytorch_is_written_too(resnet18, tmp_path):
    """Its biases are no whole numbers on the scale of the sums: the file's are the nearest."""
    torch, _, path = resnet18
    network = npresnet.load_quantized(path)
    x = on_levels(network, smooth_images(torch, 8, 3).numpy())
    written = npresnet.save_quantized(network, tmp_path / "net.onnx")
    again, due = npresnet.load_quantized(written), network(x)
    for other in (again(x), scores(written, x)):
        assert np.linalg.norm(other - due) < 0.15 * np.linalg.norm(due)
        assert (other.argmax(1) == due.argmax(1)).mean() > 0.8
    assert np.abs(scores(written, x) - again(x)).max() < 4 * network.steps[-1].scale


# --- what ONNX Runtime's static quantization writes -------------------------------------------------------------------


def statically(path, x, out, **options):
    """The file that quantize_static makes of a float one, calibrated by x."""
    runtime()
    from onnxruntime import quantization as q

    class Reader(q.CalibrationDataReader):
        def __init__(self):
            name = session(str(path)).get_inputs()[0].name
            self.batches = iter([{name: x[k : k + 8]} for k in range(0, len(x), 8)])

        def get_next(self):
            return next(self.batches, None)

    usual = {"quant_format": q.QuantFormat.QDQ, "per_channel": True, "activation_type": q.QuantType.QUInt8}
    kinds = {"int8": q.QuantType.QInt8, "uint16": q.QuantType.QUInt16, "operators": q.QuantFormat.QOperator}
    options = {key: kinds.get(value, value) if type(value) is str else value for key, value in options.items()}
    logging.disable(logging.WARNING)
    try:
        q.quantize_static(str(path), str(out), Reader(), **{**usual, **options})
    finally:
        logging.disable(logging.NOTSET)
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(a ResNet-18 of torchvision that torch.onnx.export wrote, its calibration images)."""
    torch, tv = oracles.torch(), oracles.torchvision_models()
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    model = tv.resnet18(weights=None, num_classes=10)
    x = smooth_images(torch, 16, 1)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = None
        model.train()(x)
        model.eval()
    path = tmp_path_factory.mktemp("onnx") / "float.onnx"
    free = {"x": {0: "N"}}
    torch.onnx.export(model, (x[:1],), str(path), dynamo=False, input_names=["x"], dynamic_axes=free)
    return path, x.numpy()


FORMS = {
    "per channel": {},
    "per tensor": {"per_channel": False},
    "symmetric int8": {"activation_type": "int8", "extra_options": {"ActivationSymmetric": True}},
    "int8": {"activation_type": "int8"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_a_statically_quantized_resnet_gives_our_integers(exported, tmp_path, form):
    """The same weights, scales and zero points; the scores differ by the mean, which keeps its scale here."""
    path, x = exported
    out = statically(path, x, tmp_path / "int8.onnx", **FORMS[form])
    network = npresnet.load_quantized(out)
    assert network.spec.name == "resnet18" and network.spec.num_classes == 10
    x = on_levels(network, x)
    due, found = scores(out, x), network(x)
    assert np.linalg.norm(found - due) < 0.03 * np.linalg.norm(due)
    assert (found.argmax(1) == due.argmax(1)).mean() > 0.9
    if form != "symmetric int8":  # there, ONNX Runtime also rounds between a sum and its ReLU
        check_each_step(network, x, every_value(out, x))
    saved = npresnet.save_quantized(network, tmp_path / "ours.safetensors")
    np.testing.assert_array_equal(npresnet.load_quantized(saved)(x), found)


def on_levels(network, x):
    """The images rounded: where one lies halfway between two levels, x · (1/s) and x / s may differ."""
    return ops.dequantize(ops.quantize(x, network.scale, network.zero_point), network.scale, network.zero_point)


def check_each_step(network, x, theirs):
    """Each step, of what ONNX Runtime gave for its inputs, gives what ONNX Runtime gave for it."""
    q = ops.quantize(x, network.scale, network.zero_point)
    values, compared = {INPUT: ops.Quantized(q, network.scale, network.zero_point)}, 0
    for step in network.steps[:-1]:  # the last reads the mean, which has another scale there
        found = step(*(values[name] for name in step.inputs))
        due = theirs.get((found.scale, found.q.shape))
        if due is not None:
            wrong = np.abs(found.q.astype(int) - due)
            assert wrong.max() <= 1 and (wrong > 0).mean() < 1e-3, (step.name, wrong.max(), (wrong > 0).mean())
            found, compared = found._replace(q=due.astype(np.uint8)), compared + 1
        values[step.name] = found
    assert compared == len(network.steps) - 2


def every_value(path, x):
    """(scale, shape) → the integers, as of uint8, that ONNX Runtime gives in between."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(path))
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in model.graph.initializer}
    scales = {n.output[0]: n.input[1:3] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    for name, (_, zero_point) in scales.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(arrays[zero_point].dtype)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    found = session(model.SerializeToString())
    values = found.run(list(scales), {found.get_inputs()[0].name: x})
    return {
        (float(arrays[scale]), q.shape): q.astype(int) + 128 * (q.dtype == np.int8)
        for q, (scale, _) in zip(values, scales.values())
    }


@pytest.mark.filterwarnings("ignore")
def test_one_of_a_file_of_ours_keeps_its_classes(tmp_path):
    model = npresnet.load_model()
    path, x = save_onnx(model, tmp_path / "float.onnx", fold=True), images(16)
    network = npresnet.load_quantized(statically(path, x, tmp_path / "int8.onnx"))
    assert network.classes == model.classes and network.preprocessing == model.preprocessing
    assert np.linalg.norm(network(x) - model(x)) < 0.1 * np.linalg.norm(model(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options, fold, words",
    [
        ({"activation_type": "uint16"}, True, "uint16; those of 8 bits"),
        ({"quant_format": "operators"}, True, "quantized operators .QLinearConv.; write it in the form QDQ"),
        ({}, False, "fold the batch norms first"),
        ({"op_types_to_quantize": ["Conv"]}, True, "is not quantized; only networks whose every layer"),
    ],
)
def test_what_cannot_be_held_is_one_line(tmp_path, options, fold, words):
    path = save_onnx(npresnet.load_model(), tmp_path / "float.onnx", fold=fold)
    out = statically(path, images(8), tmp_path / "int8.onnx", **options)
    with pytest.raises(WeightsError, match=words) as caught:
        npresnet.load_quantized(out)
    assert "\n" not in str(caught.value)


def changed(path, **arrays):
    """The file with other initializers."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(path))
    for one in model.graph.initializer:
        if one.name in arrays:
            one.CopyFrom(onnx.numpy_helper.from_array(arrays[one.name], one.name))
    onnx.save(model, str(path))


@pytest.mark.parametrize(
    "name, array, words",
    [
        ("conv1.weight_zero_point", np.full(16, 3, np.int8), "zero point other than 0"),
        ("conv1.weight_scale", np.zeros(16, np.float32), "not positive"),
        ("conv1.weight", np.zeros((16, 3, 3, 3), np.int16), "int8"),
        ("conv1.bias_zero_point", np.full(16, 3, np.int32), "a bias is of int32 with the zero point 0"),
        ("conv1.scale", np.full(16, 3, np.float32), "one scale"),
        ("conv1.weight_scale", np.full(3, 3, np.float32), "one for each filter"),
    ],
)
def test_a_changed_file_of_ours_is_refused(tmp_path, name, array, words):
    path = npresnet.save_quantized(calibrated("resnet20"), tmp_path / "net.onnx")
    changed(path, **{name: array})
    with pytest.raises(WeightsError, match=words):
        npresnet.load_quantized(path)


def test_float_readers_say_what_reads_it(tmp_path):
    path = npresnet.save_quantized(calibrated("resnet20"), tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match="load_quantized"):
        npresnet.load_model(path)
    assert holds_quantized(path)
    plain = save_onnx(npresnet.load_model(), tmp_path / "float.onnx")
    assert not holds_quantized(plain) and not holds_quantized(tmp_path) and not holds_quantized(tmp_path / "none")
    with pytest.raises(WeightsError, match="no quantized network"):
        npresnet.load_quantized(plain)


def test_nothing_half_written(tmp_path):
    network = calibrated("resnet20")
    with pytest.raises(WeightsError, match="opset"):
        npresnet.save_quantized(network, tmp_path / "net.onnx", opset=3)
    with pytest.raises(WeightsError, match="no folder"):
        npresnet.save_quantized(network, tmp_path / "none" / "net.onnx")
    assert not list(tmp_path.iterdir())
