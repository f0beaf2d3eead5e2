"""Keras's ResNet50 under a new head, the commonest fine-tune: its dense layer is the classifier, whatever its name."""

import json

import numpy as np
import pytest

from npresnet import WeightsError
from npresnet.formats.keras import CONFIG
from npresnet.formats.stream import Budget
from npresnet.models import build
from npresnet.weights import Checkpoint, export_weights, read_weights, recognise
from npresnet.weights.keys import keras_graph, maps

pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "net.h5"
    export_weights(build("resnet50", 3, dialect="keras"), path, "keras")
    return dict(read_weights(path))


@pytest.mark.parametrize("name", ["dense", "dense_7", "flowers", "sequential/dense"])
def test_the_dense_layer_is_the_classifier(arrays, name):
    found = recognise({key.replace("predictions", name): array for key, array in arrays.items()})
    assert (found.name, found.num_classes, found.dialect) == ("resnet50", 3, "keras")


def test_a_head_of_two_dense_layers(arrays):
    more = {"dense_1/kernel": np.zeros((3, 2), np.float32), "dense_1/bias": np.zeros(2, np.float32)}
    with pytest.raises(WeightsError, match="2 dense layers, 'predictions', 'dense_1'; one is read, the classifier"):
        recognise(Checkpoint({**arrays, **more}, format="keras h5"))


def sequential(*layers):
    conv = {"class_name": "Conv2D", "config": {"name": "conv", "kernel_size": [3, 3], "strides": 1}}
    return json.dumps({"class_name": "Sequential", "config": {"layers": [conv, *layers]}})


def layer(kind):
    return {"class_name": kind, "config": {"name": kind.lower()}}


def keras_state(config, arrays):
    return keras_graph.keras_state(config, arrays, Budget(len(config)))


CONV = {"conv/kernel": np.zeros((3, 3, 3, 4), np.float32)}


@pytest.mark.parametrize("kind", ["Dropout", "RandomFlip", "Flatten", "GaussianNoise"])
def test_layers_that_change_no_score(kind):
    assert [one.kind for one in keras_state(sequential(layer(kind)), CONV).layers.values()] == ["Conv2d"]


@pytest.mark.parametrize("kind", ["GlobalMaxPooling2D", "Rescaling", "Normalization", "Lambda", "TFOpLambda"])
def test_layers_that_a_resnet_has_not(kind):
    for config in (
        sequential(layer(kind)),
        sequential({"class_name": "Sequential", "config": {"layers": [layer(kind)]}}),
    ):
        with pytest.raises(WeightsError, match=rf"its layer '{kind.lower()}' is a '{kind}', which no ResNet"):
            keras_state(config, CONV)


@pytest.mark.parametrize("config", ["3", "[]", "{}", '{"config": {"layers": [3]}}'])
def test_a_configuration_of_no_graph(config):
    assert keras_state(config, CONV) is None


def test_a_layer_of_the_writers_own():
    """What it computes is in the writer's program; around Keras's ResNet it cannot be passed over."""
    config = sequential({"module": None, "class_name": "Mine", "config": {"name": "mine"}, "registered_name": "X>Mine"})
    assert keras_state(config, CONV) is None
    with pytest.raises(WeightsError, match="its layer 'mine' is a 'Mine', which no ResNet"):
        keras_state(config, {"conv1_conv/kernel": CONV["conv/kernel"]})


def test_a_graph_is_paid_for():
    """The names inside a part begin with the part's, so that they are far longer together than the file."""
    name = "n" * 10_000
    inner = {"class_name": "Sequential", "config": {"name": name, "layers": [layer("Flatten")] * 2000}}
    part = {
        "class_name": "Functional",
        "config": {"name": name, "layers": [inner | {"inbound_nodes": [[[name, 0, 0]]]}]},
    }
    part["config"] |= {"input_layers": [["in", 0, 0]], "output_layers": [[name, 0, 0]]}
    part["config"]["layers"][0]["inbound_nodes"] = [[["in", 0, 0]]]
    with pytest.raises(WeightsError, match="the graph in the configuration would take"):
        keras_state(json.dumps(part), CONV)


def test_arrays_of_a_graph_are_turned_in_place_and_shared_by_no_two_layers():
    conv = {"class_name": "Conv2D", "config": {"name": "conv", "kernel_size": [1, 1]}}
    config = json.dumps({"class_name": "Sequential", "config": {"layers": [conv, conv]}})
    kernel = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    named = maps.named_arrays(Checkpoint({"conv/kernel": kernel}, metadata={CONFIG: config}))
    first, second = named.arrays.values()
    assert first.tolist() == second.tolist() == kernel.transpose(3, 2, 0, 1).tolist()
    assert np.shares_memory(first, kernel) and not np.shares_memory(first, second)
