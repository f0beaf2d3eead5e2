"""Networks on integers: what they compute, how they are calibrated, and their files."""

import json

import numpy as np
import pytest

import npresnet
from npresnet import WeightsError, nn, ops
from npresnet.quantized import OBSERVERS, compare
from npresnet.quantized.float_step import run
from npresnet.quantized.lower import lower
from npresnet.quantized.observers import MinMax, MovingAverage, Percentile, SquaredError, affine


def lively(model, seed=1):
    """The model with batch norms that do something, and whose statistics are those of its own activations."""
    rng = np.random.default_rng(seed)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        shape = part.running_mean.value.shape
        part.weight.value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        part.bias.value = rng.normal(0, 0.3, shape).astype(np.float32)
    usual = [part.momentum for part in norms]
    for part in norms:
        part.momentum = 1.0
    model.train()(images(16, seed=9))
    for part, momentum in zip(norms, usual):
        part.momentum = momentum
    return model.eval()


def images(n=8, size=32, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3, size, size)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return lively(npresnet.create_model("resnet20"))


@pytest.fixture(scope="module")
def network(model):
    return npresnet.quantize(model, images(32))


# --- steps ------------------------------------------------------------------------------------------------------------

NETWORKS = {
    "resnet20": {},
    "resnet18": {},
    "resnet50": {"width": 8, "depths": (1, 1, 1, 1)},
    "resnext50_32x4d": {"width": 16, "depths": (1, 1)},
    "preresnet18": {"width": 16, "depths": (1, 1, 1)},
    "plain20": {},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_compute_what_the_model_computes(name):
    """Float steps give the model's scores; those on integers come near, over all the layers that a family joins."""
    model = lively(npresnet.create_model(name, **NETWORKS[name]))
    x = images(16)
    *_, (_, y) = run(lower(model), x)
    np.testing.assert_allclose(y, model(x), rtol=1e-5, atol=1e-5 * np.abs(y).max())
    network = npresnet.quantize(model, x)
    error = np.linalg.norm(network(x) - y) / np.linalg.norm(y)
    assert error < 0.15, error
    assert all(q.q.dtype == np.uint8 for _, q in network.run(x[:1]))


def test_a_batch_norm_and_a_relu_join_the_step_before_only_where_nobody_else_reads_it():
    names = [step.name for step in lower(npresnet.create_model("resnet20"))]
    assert names[:4] == ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.0.add"]
    before = {step.name: step for step in lower(npresnet.create_model("preresnet18"))}
    assert all(len(step.layers) <= 3 for step in before.values())
    alone = [step for step in before.values() if type(step.layers[:1] and step.layers[0]) is nn.BatchNorm2d]
    assert alone and all(step.relu for step in alone)


def test_what_has_no_equivalent_is_named():
    with pytest.raises(ValueError, match="SqueezeExcite, which has no equivalent"):
        npresnet.quantize(npresnet.create_model("resnet50", squeeze=True), images())
    with pytest.raises(ValueError, match="training mode"):
        npresnet.quantize(npresnet.create_model("resnet20").train(), images())


class Halved(nn.Conv2d):
    """Computes something else than a convolution by its weights."""

    def vjp(self, x, input_grad=True):
        return super().vjp(x / 2, input_grad)


def test_what_computes_something_else_is_refused():
    """A subclass, and instances of the plain classes whose pullback was replaced: a layer, and a sum."""
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    model = nn.Sequential(Halved(3, 4, 3), nn.ReLU()).eval()
    with pytest.raises(ValueError, match="0 is a Halved, which has no equivalent"):
        npresnet.quantize(model, x)
    for part, kind in (("layer1.0.conv1", "Conv2d"), ("layer1.0", "BasicBlock")):
        model = npresnet.create_model("resnet20")
        dict(model.named_modules())[part].vjp = lambda x, input_grad=True: (x, None)
        with pytest.raises(ValueError, match=f"{part} is a {kind} whose vjp or op was replaced, which has no"):
            npresnet.quantize(model, x)
    with pytest.raises(ValueError, match="no layer to quantize"):
        npresnet.quantize(nn.Sequential(nn.Identity()).eval(), x)


def test_a_channel_of_zeros_is_its_bias():
    model = lively(npresnet.create_model("resnet20"))
    model.conv1.weight.value = model.conv1.weight.value * (np.arange(16) > 3)[:, None, None, None]
    network = npresnet.quantize(model, images())
    assert np.isfinite(network(images())).all()


def test_each_result_is_forgotten_behind_its_last_reader(model):
    steps = lower(model)
    generator = run(steps, images(1))
    longest = 0
    for _ in generator:
        longest = max(longest, len(generator.gi_frame.f_locals["results"]))
    assert longest <= 3


def test_the_input_is_only_read(network):
    x = images(2)
    x.flags.writeable = False
    before = {name: array.copy() for name, array in network.arrays().items()}
    np.testing.assert_array_equal(network(x), network(x))
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_integers_of_one_image_do_not_depend_on_the_others(network):
    x = images(3)
    np.testing.assert_array_equal(network(x)[1:2], network(x[1:2]))


# --- calibration ------------------------------------------------------------------------------------------------------


def test_ranges():
    x = np.concatenate([np.linspace(-1, 2, 9999), [50]]).astype(np.float32)
    ranges = {}
    for kind in (MinMax, MovingAverage, Percentile, SquaredError):
        observer = kind()
        observer.observe(x)
        ranges[kind] = observer.range()
    assert ranges[MinMax] == ranges[MovingAverage] == (-1, 50)
    assert -1 <= ranges[Percentile][0] < -0.99 and 1.99 < ranges[Percentile][1] <= 50
    assert 15 <= ranges[SquaredError][1] < 50
    average = MovingAverage()
    average.observe(np.array([0.0, 1.0]))
    average.observe(np.array([-1.0, 2.0]))
    np.testing.assert_allclose(average.range(), (-0.01, 1.01))


def test_the_squared_errors_range_is_the_best_of_those_tried():
    x = np.random.default_rng(1).laplace(size=16_000).astype(np.float32)
    observer = SquaredError()
    observer.observe(x)

    def error(low, high):
        return np.square(ops.fake_quantize(x, *affine(low, high))[0] - x).mean()

    found = error(*observer.range())
    assert all(found <= 1.02 * error(part * x.min(), part * x.max()) for part in (0.4, 0.5, 0.6, 0.8, 1))
    assert found < 0.8 * error(0.35 * x.min(), 0.35 * x.max())


def test_zero_is_a_level_and_the_range_is_reached():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0)):
        scale, zero_point = affine(low, high)
        assert 0 <= zero_point <= 255 and scale == np.float32(scale) and scale > 0
        ends = ops.dequantize(np.array([0, 255], np.uint8), scale, zero_point)
        assert ends[0] <= min(low, 0) + scale and ends[1] >= max(high, 0) - scale
    with pytest.raises(ValueError, match="not finite"):
        affine(-np.inf, 1.0)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_every_observer_makes_a_network_near_the_model(model, observer):
    x = images(32)
    network = npresnet.quantize(model, [x[:16], x[16:]], observer=observer)
    report = compare(model, network, x)
    assert report.errors["fc"] < 0.2 and report.images == 32 and report.agreement >= 0.8
    assert report.bytes[0] > 3.9 * report.bytes[1]
    assert "same class for" in str(report) and len(str(report).splitlines()) == len(report.errors) + 4


def test_seven_bits_use_the_lower_half_of_a_byte(model):
    x = images(32)
    eight, seven = (npresnet.quantize(model, x, bits=bits) for bits in (8, 7))
    assert max(q.q.max() for _, q in seven.run(x)) < 140  # of the images that were seen; 8 bits reach the end
    assert max(q.q.max() for _, q in eight.run(x)) == 255
    np.testing.assert_allclose(seven.scale, eight.scale * 255 / 127, rtol=1e-6)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_a_file_gives_the_same_bits(network, tmp_path, suffix):
    path = npresnet.save_quantized(network, tmp_path / f"small{suffix}")
    assert path.stat().st_size < 1.2 * network.nbytes + 60_000
    again = npresnet.load_quantized(path)
    np.testing.assert_array_equal(again(images()), network(images()))
    assert again.spec == network.spec and again.preprocessing == network.preprocessing
    with pytest.raises(WeightsError):
        npresnet.load_model(path)


def changed(network, **arrays):
    """A writer of the network's file with some arrays changed; None leaves one out."""
    state = {**network.arrays(), **{key.replace("__", "."): value for key, value in arrays.items()}}
    return {key: value for key, value in state.items() if value is not None}


SPOILT = {
    "no scale": ({"conv1__scale": None}, "no 'conv1.scale'"),
    "one too many": ({"conv9__weight": np.zeros(3, np.int8)}, "belong nowhere: 'conv9.weight'"),
    "a scale of 0": ({"conv1__scale": np.float32(0)}, "cannot be"),
    "a scale that is not finite": ({"conv1__scale": np.float32("nan")}, "cannot be"),
    "a zero point beyond": ({"conv1__zero_point": np.int64(256)}, "cannot be"),
    "a zero point that is not whole": ({"conv1__zero_point": np.float32(3)}, "whole zero point"),
    "float weights": ({"conv1__weight": np.zeros((16, 3, 3, 3), np.float32)}, "int8"),
    "another shape": ({"layer1.0.conv1__weight": np.zeros((16, 3, 3, 3), np.int8)}, "int8"),
    "a scale of weights of 0": ({"fc__weight_scale": np.zeros(10, np.float32)}, "not positive"),
    "a bias that is not finite": ({"fc__bias": np.full(10, np.inf, np.float32)}, "not finite"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_refused_in_one_line(network, tmp_path, name):
    arrays, words = SPOILT[name]
    path = tmp_path / "spoilt.safetensors"
    npresnet.save_weights(changed(network, **arrays), path, metadata={"npresnet-int8": network.metadata})
    with pytest.raises(WeightsError, match=words) as caught:
        npresnet.load_quantized(path)
    assert "\n" not in str(caught.value)


def test_a_changed_network_is_quantized_and_not_written(tmp_path):
    model = lively(npresnet.create_model("resnet18", width=8, depths=(1, 1)))
    model.maxpool = nn.Identity()
    network = npresnet.quantize(model, images())
    assert "maxpool" not in [step.name for step in network.steps]
    assert np.linalg.norm(network(images()) - model(images())) < 0.2 * np.linalg.norm(model(images()))
    with pytest.raises(WeightsError, match="as it was built by name"):
        npresnet.save_quantized(network, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_network_that_was_frozen_for_training_is_written(model, network, tmp_path):
    frozen = nn.freeze_batch_norm(model.copy())
    path = npresnet.save_quantized(npresnet.quantize(frozen, images(32)), tmp_path / "a.npz")
    np.testing.assert_array_equal(npresnet.load_quantized(path)(images()), network(images()))
    assert any(norm.frozen for norm in frozen.modules() if isinstance(norm, nn.BatchNorm2d))


def test_features_without_a_classifier_are_quantized_too():
    model = lively(npresnet.create_model("resnet20", num_classes=0))
    network = npresnet.quantize(model, images())
    assert network(images()).shape == (8, 64)
    assert np.linalg.norm(network(images()) - model(images())) < 0.2 * np.linalg.norm(model(images()))


def test_metadata_that_lie_are_refused(network, tmp_path):
    path = tmp_path / "lie.safetensors"
    for text in ("{}", "no JSON", json.dumps({**json.loads(network.metadata), "version": 9})):
        npresnet.save_weights(network.arrays(), path, metadata={"npresnet-int8": text})
        with pytest.raises(WeightsError):
            npresnet.load_quantized(path)
    npresnet.save_weights(network.arrays(), path)
    with pytest.raises(WeightsError, match="no quantized network"):
        npresnet.load_quantized(path)
