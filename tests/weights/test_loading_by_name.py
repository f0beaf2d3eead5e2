"""create_model with a file of another dialect: what would silently give wrong numbers is refused, with the cure."""

import numpy as np
import pytest

from npresnet import WeightsError, create_model, load_model, save_weights
from npresnet.analysis.diff import drawn
from npresnet.models import build
from npresnet.weights import export_weights

h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    model = build("resnet50", 3, dialect="keras")
    drawn(model, seed=1)
    path = tmp_path_factory.mktemp("keras") / "net.h5"
    export_weights(model, path, "keras")
    with h5py.File(path, "r+") as file:
        del file.attrs["npresnet"]  # as Keras writes it, which does not say how we would build it
    return path


def test_a_keras_file_in_a_torchvision_network(keras_file):
    with pytest.raises(WeightsError, match=r"in the dialect 'keras'.*stride_on, conv_bias, eps.*dialect=\"keras\""):
        create_model("resnet50", weights=keras_file, dialect="torchvision")
    model = create_model("resnet50", weights=keras_file)
    assert model.spec == create_model("resnet50", weights=keras_file, dialect="keras").spec
    assert model.preprocessing == "caffe" and model.spec.num_classes == 3
    x = np.random.default_rng(0).standard_normal((1, 3, 40, 40), np.float32)
    np.testing.assert_array_equal(model(x), load_model(keras_file)(x))


@pytest.mark.parametrize(
    "name, options",
    [
        ("resnet20", {"shortcut": "B"}),
        ("resnet18", {"stem": "deep", "avg_down": True}),
        ("resnet18", {"squeeze": True}),
    ],
)
def test_the_options_that_the_arrays_show_are_taken_by_name_too(name, options):
    arrays = build(name, 3, **options).state_dict()
    assert create_model(name, weights=arrays).spec.options == options
    with pytest.raises(WeightsError, match=r"does not fit|the file records attention='se'"):
        create_model(name, weights=arrays, **{key: {"shortcut": "A", "stem": "7x7"}.get(key, False) for key in options})


def test_weights_that_fit_and_would_lie(tmp_path):
    """The first tutorial's arrays have torchvision's shapes: strict loading alone would not notice."""
    model = build("resnet50", 3, dialect="keras-tutorial-a")
    save_weights(model, tmp_path / "net.npz")
    with pytest.raises(WeightsError, match="eps, padding, pool differ"):
        create_model("resnet50", weights=tmp_path / "net.npz", dialect="torchvision")
    for named in ({}, {"dialect": "keras-tutorial-a"}):
        assert create_model("resnet50", weights=tmp_path / "net.npz", **named).spec == model.spec


def test_dialects_of_the_same_arithmetic_exchange_weights(tmp_path):
    model = build("resnet18", 3, dialect="huggingface")
    save_weights(model, tmp_path / "net.npz")
    assert create_model("resnet18", weights=tmp_path / "net.npz").spec.dialect == "huggingface"
    there = create_model("resnet18", weights=tmp_path / "net.npz", dialect="torchvision")
    assert there.spec.dialect == "torchvision"
    deep = build("resnet18", 3, dialect="timm", stem="deep")
    save_weights(deep, tmp_path / "deep.npz")
    assert create_model("resnet18", weights=tmp_path / "deep.npz", dialect="torchvision").conv1.children()
    with pytest.raises(WeightsError, match="records stem='deep': leave that out"):
        create_model("resnet18", weights=tmp_path / "deep.npz", stem="7x7")


@pytest.mark.parametrize("dialect, unbiased", [("keras", False), ("keras-tutorial-a", True)])
def test_running_statistics_follow_the_dialects_convention(dialect, unbiased):
    """Keras's momentum 0.99 is 0.01 here; Keras 3 keeps the batch's variance, TensorFlow's kernel m/(m−1) of it."""
    model = build("resnet50", 3, dialect=dialect).train()
    norm = model.bn1
    x = np.random.default_rng(2).standard_normal((4, 64, 3, 5)).astype(np.float32) * 2 + 1
    norm(x)
    m = 4 * 3 * 5
    variance = x.var(axis=(0, 2, 3)) * (m / (m - 1) if unbiased else 1)
    np.testing.assert_allclose(norm.running_mean.value, 0.01 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.value, 0.99 + 0.01 * variance, rtol=1e-6)


def test_keras_moves_its_statistics_the_same_way(keras):
    theirs = keras.layers.BatchNormalization(epsilon=1.001e-5)
    ours = build("resnet50", 3, dialect="keras").train().bn1
    x = np.random.default_rng(2).standard_normal((4, 64, 3, 5)).astype(np.float32) * 2 + 1
    for _ in range(3):
        expected = theirs(x.transpose(0, 2, 3, 1), training=True)
        y = ours(x)
    np.testing.assert_allclose(y, keras.ops.convert_to_numpy(expected).transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.running_mean.value, keras.ops.convert_to_numpy(theirs.moving_mean), rtol=1e-5)
    np.testing.assert_allclose(ours.running_var.value, keras.ops.convert_to_numpy(theirs.moving_variance), rtol=1e-6)
