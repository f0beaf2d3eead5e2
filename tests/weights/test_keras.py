"""Keras Applications, built and saved by Keras itself in each of its formats, loaded and run here."""

from importlib import import_module

import numpy as np
import pytest

from npresnet import load_model
from npresnet.weights import load_weights, read_weights

from ..support.libraries import assert_close, images, randomise_keras

pytestmark = pytest.mark.slow

NETS = {"ResNet50": "resnet50", "ResNet50V2": "preresnet50"}


@pytest.mark.parametrize("original, name", NETS.items())
def test_every_format_gives_keras_own_numbers(keras, tmp_path, original, name):
    theirs = getattr(keras.applications, original)(weights=None, input_shape=(64, 64, 3), classes=11)
    randomise_keras(theirs)
    theirs.save(tmp_path / "a.h5")
    theirs.save(tmp_path / "b.keras")
    theirs.save_weights(tmp_path / "c.weights.h5")
    x = images()
    expected = keras.ops.convert_to_numpy(theirs(x.transpose(0, 2, 3, 1)))
    states = []
    for file in ("a.h5", "b.keras", "c.weights.h5"):
        ours = load_model(tmp_path / file)
        assert (ours.spec.name, ours.spec.dialect, ours.spec.options, ours.spec.num_classes) == (name, "keras", {}, 11)
        assert ours.preprocessing == ("tf" if original.endswith("V2") else "caffe") and ours.softmax is not None
        states.append(ours.state_dict())
    for state in states[1:]:
        for key, array in states[0].items():
            np.testing.assert_array_equal(state[key], array)
    assert_close(ours(x), expected, 1e-4)
    theirs.layers[-1].activation = keras.activations.linear
    assert_close(ours.logits(x), keras.ops.convert_to_numpy(theirs(x.transpose(0, 2, 3, 1))), 1e-4)


@pytest.mark.parametrize("original", NETS)
def test_float64(keras, tmp_path, original, monkeypatch):
    """To the last digits.  Keras computes batch norms and means in float32 whatever the policy is; not here."""
    table = import_module("keras.src.backend.common.dtypes")
    monkeypatch.setitem(table.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    for cached in (function for function in vars(table).values() if hasattr(function, "cache_clear")):
        cached.cache_clear()
    keras.config.set_dtype_policy("float64")
    try:
        theirs = getattr(keras.applications, original)(
            weights=None, input_shape=(64, 64, 3), classes=5, classifier_activation=None
        )
    finally:
        keras.config.set_dtype_policy("float32")
    randomise_keras(theirs)
    theirs.save(tmp_path / "net.keras")
    x = images().astype(np.float64)  # Keras rounds what it is given to float32
    ours = load_model(tmp_path / "net.keras").astype(np.float64)
    assert ours.spec.options == {"softmax": False}  # as the configuration says
    load_weights(ours, tmp_path / "net.keras")
    expected = keras.ops.convert_to_numpy(theirs(x.transpose(0, 2, 3, 1)))
    assert expected.dtype == np.float64
    assert_close(ours(x), expected, 1e-9)


def test_a_network_without_its_head_gives_features(keras, tmp_path):
    theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    randomise_keras(theirs)
    theirs.save(tmp_path / "notop.h5")
    ours, x = load_model(tmp_path / "notop.h5"), images()
    assert (ours.spec.name, ours.spec.dialect, ours.spec.num_classes) == ("resnet50", "keras", 0)
    assert_close(ours(x), keras.ops.convert_to_numpy(theirs(x.transpose(0, 2, 3, 1))).mean((1, 2)), 1e-4)


def test_the_arrays_keep_keras_names_and_layout(keras, tmp_path):
    theirs = keras.applications.ResNet50(weights=None, classes=3)
    theirs.save(tmp_path / "net.keras")
    arrays = read_weights(tmp_path / "net.keras")
    kernel = theirs.get_layer("conv3_block1_2_conv").get_weights()[0]
    np.testing.assert_array_equal(arrays["conv3_block1_2_conv/kernel"], kernel)
    assert arrays.format == "keras" and arrays["predictions/bias"].shape == (3,)
