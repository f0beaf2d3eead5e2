"""The first two tutorials' networks, built and saved by Keras 3 and TensorFlow's legacy Keras, loaded and run here."""

import numpy as np
import pytest

from npresnet import load_model

from ..support.keras_tutorials import builders
from ..support.libraries import assert_close, images, randomise_keras

pytestmark = pytest.mark.slow

SHAPE = (64, 64, 3)


def saved(model, folder, suffixes):
    """The model in each format, weights only where a subclass cannot be described."""
    for suffix in suffixes:
        path = folder / f"net{suffix}"
        (model.save_weights if "weights" in suffix else model.save)(path.as_posix())
        yield path


def compare(model, files, name, dialect, classes):
    x = images()
    y = model(x.transpose(0, 2, 3, 1))
    expected = (y.detach() if hasattr(y, "detach") else y).numpy()
    for file in files:
        ours = load_model(file)
        assert (ours.spec.name, ours.spec.dialect, ours.spec.num_classes) == (name, dialect, classes), file
        assert ours.spec.options == {}
        assert_close(ours(x), expected, 1e-4)


@pytest.fixture(params=["keras 3", "legacy keras"])
def library(request):
    """(the library, the formats of a subclassed model, those of a functional one)"""
    if request.param == "keras 3":
        return request.getfixturevalue("keras"), [".weights.h5"], [".h5", ".weights.h5", ".keras"]
    return request.getfixturevalue("tf_keras"), [".weights.h5", "_weights.h5", ".keras"], [".h5", ".keras"]


def test_first_tutorial_sequential(library, tmp_path):
    keras, formats, _ = library
    model = builders(keras)[0](classes=6)
    model(np.zeros((1, *SHAPE), np.float32))
    assert model.count_params() == 25610152 - 994 * 2049
    randomise_keras(model)
    compare(model, saved(model, tmp_path, formats), "resnet50", "keras-tutorial-a", 6)


def test_first_tutorial_functional(library, tmp_path):
    keras, _, formats = library
    model = builders(keras)[1](6, SHAPE)
    randomise_keras(model)
    compare(model, saved(model, tmp_path, formats), "resnet50", "keras-tutorial-a", 6)


@pytest.mark.parametrize("name, parameters", [("resnet18", 11703912 - 992 * 513), ("resnet50", 25636712 - 992 * 2049)])
def test_second_tutorial(library, tmp_path, name, parameters):
    keras, formats, _ = library
    model = builders(keras)[2](name, 8)
    model(np.zeros((1, *SHAPE), np.float32))
    assert model.count_params() == parameters
    randomise_keras(model)
    compare(model, saved(model, tmp_path, [s for s in formats if s != ".keras"]), name, "keras-tutorial-b", 8)
