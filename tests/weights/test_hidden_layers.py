"""Classifiers of several linear layers: loaded, saved, exported, adapted, run by the engine."""

import numpy as np
import pytest

from npresnet import WeightsError, create_model, load_model, optimize, save_weights, summary
from npresnet.analysis.diff import drawn
from npresnet.nn import GELU, Linear, ReLU, Sequential
from npresnet.weights import save_onnx

X = np.random.default_rng(0).standard_normal((2, 3, 64, 64), np.float32)
SMALL = {"depths": (1, 1, 1, 1), "width": 8}


def with_head(*parts):
    model = create_model("resnet18", num_classes=5, **SMALL)
    model.fc = Sequential(*parts)
    drawn(model, seed=1)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return with_head(Linear(64, 12), ReLU(), Linear(12, 5))


@pytest.fixture(scope="module")
def arrays(model):
    """Under names of somebody else."""
    return {f"net.{key}".replace("fc", "classifier"): array for key, array in model.state_dict().items()}


def test_arrays_alone(model, arrays, tmp_path):
    path = save_weights(arrays, tmp_path / "net.npz")
    ours = load_model(path)
    np.testing.assert_array_equal(ours.logits(X), model.logits(X))
    assert [note for note in ours.notes if "a ReLU is assumed" in note and "model.fc.1" in note]
    again = load_model(save_weights(ours, tmp_path / "again.safetensors"))
    np.testing.assert_array_equal(again.logits(X), model.logits(X))
    assert again.spec.num_classes == 5


@pytest.mark.parametrize("activation", [ReLU, GELU])
def test_a_graph_says_what_stands_between(activation, tmp_path):
    model = with_head(Linear(64, 12), activation(), Linear(12, 5))
    path = tmp_path / "net.onnx"
    save_onnx(model, path)
    ours = load_model(path)
    np.testing.assert_allclose(ours.logits(X), model.logits(X), rtol=0, atol=1e-4 * abs(model.logits(X)).max())


def test_a_graph_without_metadata(model, tmp_path):
    onnx = pytest.importorskip("onnx")
    save_onnx(model, tmp_path / "net.onnx")
    graph = onnx.load(tmp_path / "net.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "bare.onnx")
    ours = load_model(tmp_path / "bare.onnx")
    np.testing.assert_allclose(ours.logits(X), model.logits(X), rtol=0, atol=1e-4 * abs(model.logits(X)).max())
    assert not any("assumed" in note for note in ours.notes)


def test_another_number_of_classes_gets_a_new_head(arrays):
    ours = create_model("resnet18", weights=arrays, num_classes=3, **SMALL)
    assert ours.logits(X).shape == (2, 3) and any("head of 5 classes was replaced" in note for note in ours.notes)
    assert create_model("resnet18", weights=arrays, num_classes=0, **SMALL)(X).shape == (2, 64)
    with pytest.raises(WeightsError, match="leave out num_classes and in_channels"):
        create_model("resnet18", weights=arrays, in_channels=2, **SMALL)


def test_engine_and_summary(model):
    np.testing.assert_allclose(optimize(model)(X), model(X), rtol=0, atol=1e-4 * abs(model(X)).max())
    rows = summary(model, X.shape).rows
    assert [row.name for row in rows[-3:]] == ["fc.0", "fc.1", "fc.2"]


def test_layers_that_do_not_follow_one_another(arrays, tmp_path):
    arrays = {**arrays, "net.classifier.2.weight": np.ones((5, 7), np.float32)}
    with pytest.raises(WeightsError, match=r"'net.classifier.2' follows none of the others"):
        load_model(save_weights(arrays, tmp_path / "net.npz"))
