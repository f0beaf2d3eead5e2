"""create_model with weights of another number of channels or classes, and networks without a classifier."""

import re

import numpy as np
import pytest

from npresnet import (
    WeightsError,
    create_model,
    grad_cam,
    load_model,
    load_weights,
    optimize,
    read_weights,
    save_weights,
    summary,
    use,
)
from npresnet.weights.adapt import with_channels

from .models.conftest import library, torch  # noqa: F401

SMALL = {"depths": (1, 1, 1), "width": 8}
X = np.random.default_rng(0).standard_normal((2, 3, 24, 24)).astype(np.float32)


@pytest.fixture(autouse=True)
def reference():
    with use("numpy"):
        yield


@pytest.fixture
def file(tmp_path):
    model = create_model("resnet18", num_classes=4, seed=1, **SMALL)
    model.classes = tuple("abcd")
    return save_weights(model, tmp_path / "net.npz")


@pytest.mark.parametrize("k", [1, 2, 4, 6, 7])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_first_convolution_is_adapted_as_timm_adapts_it(library, torch, k, dtype):  # noqa: F811
    library("timm")
    from timm.models._manipulate import adapt_input_conv

    w = np.random.default_rng(0).standard_normal((5, 3, 3, 3)).astype(dtype)
    found, wanted = with_channels(w, k), adapt_input_conv(k, torch.from_numpy(w)).numpy()
    assert found.dtype == w.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-3 if dtype == "float16" else 1e-6, atol=1e-6)


@pytest.mark.parametrize("k, said", [(1, "reads 1 channel: .* summed over its 3"), (4, "4 channels.*scaled by 3/4")])
@pytest.mark.parametrize("stem", ["7x7", "deep"])
def test_the_first_convolution_reads_other_channels(k, said, stem, tmp_path):
    model = create_model("resnet18", num_classes=4, seed=1, stem=stem, **SMALL)
    adapted = create_model("resnet18", weights=save_weights(model, tmp_path / "net.npz"), in_channels=k)
    assert (adapted.spec.in_channels, adapted.spec.num_classes) == (k, 4)
    assert re.search(said, adapted.notes[0]) and len(adapted.notes) == 1
    old, new = model.state_dict(), adapted.state_dict()
    key = "conv1.0.weight" if stem == "deep" else "conv1.weight"
    np.testing.assert_array_equal(new[key], with_channels(old[key], k))
    for other in old.keys() - {key}:
        np.testing.assert_array_equal(new[other], old[other])
    if k == 1:  # of a grey image both see the same
        np.testing.assert_allclose(adapted(X[:, :1]), model(np.tile(X[:, :1], (1, 3, 1, 1))), rtol=1e-4, atol=1e-5)


def test_another_number_of_classes_gets_a_new_head_drawn_with_the_seed(file):
    model = create_model("resnet18", weights=file, num_classes=7, seed=5)
    assert model.spec.num_classes == 7 and model.classes is None
    assert [note for note in model.notes if "head" in note] == [
        "the head of 4 classes was replaced: the new one of 7 is drawn at random and has to be trained"
    ]
    old, new = dict(read_weights(file)), model.state_dict()
    for key in old.keys() - {"fc.weight", "fc.bias"}:
        np.testing.assert_array_equal(new[key], old[key])
    drawn = create_model("resnet18", num_classes=7, seed=5, **SMALL).fc.weight.value
    np.testing.assert_array_equal(new["fc.weight"], drawn)


def test_the_file_s_own_sizes_change_nothing(file):
    model = create_model("resnet18", weights=file, num_classes=4, in_channels=3)
    assert model.notes == [] and model.classes == tuple("abcd")
    np.testing.assert_array_equal(model(X), load_model(file)(X))


def test_a_state_dict_is_adapted_and_left_as_it_was(file):
    state = {key: np.array(array) for key, array in read_weights(file).items()}
    kept = {key: array.copy() for key, array in state.items()}
    model = create_model("resnet18", weights=state, num_classes=2, in_channels=1, **SMALL)
    assert model(X[:, :1]).shape == (2, 2) and len(model.notes) == 2
    assert state.keys() == kept.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(array, kept[key])
        assert not np.shares_memory(array, model.state_dict()[key])


def test_arrays_without_a_head_get_one_where_classes_are_asked_for(file):
    state = {key: array for key, array in read_weights(file).items() if not key.startswith("fc.")}
    model = create_model("resnet18", weights=state, num_classes=3, **SMALL)
    assert model.notes == ["there was no head: the new one of 3 is drawn at random and has to be trained"]
    assert create_model("resnet18", weights=state, **SMALL)(X).shape == (2, 32)


def test_loading_into_a_model_stays_strict(file):
    for other in ({"num_classes": 7}, {"num_classes": 4, "in_channels": 1}, {"num_classes": 0}):
        with pytest.raises(WeightsError, match="does not fit"):
            load_weights(create_model("resnet18", **other, **SMALL), file)


def test_a_changed_network_keeps_its_sizes(file):
    model = load_model(file)
    model.layer1[0].conv1.dilation, model.layer1[0].conv1.padding = 2, 2
    save_weights(model, file)
    with pytest.raises(WeightsError, match="a changed network of 4 classes and 3 input channels"):
        create_model("resnet18", weights=file, num_classes=7)


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
@pytest.mark.parametrize("name", ["resnet18", "preresnet18", "plain20"])
def test_without_classes_it_gives_the_pooled_features(name, suffix, tmp_path):
    model = create_model(name, num_classes=0, **SMALL)
    features = model(X)
    assert features.shape == (2, 32) and model.spec.num_classes == 0
    assert not any(key.startswith("fc") for key in model.state_dict())
    again = load_model(save_weights(model, tmp_path / f"net{suffix}"))
    assert again.spec == model.spec and again.notes == [] and again.classes is None
    np.testing.assert_array_equal(again(X), features)
    np.testing.assert_array_equal(create_model(name, weights=tmp_path / f"net{suffix}")(X), features)
    assert summary(model, X.shape).rows[-1].output_shape == (2, 32)
    y, pullback = model.vjp(X)
    assert pullback(np.ones_like(y)).shape == X.shape
    scores = create_model(name, num_classes=5, **SMALL)
    scores.fc = type(model.fc)()
    np.testing.assert_array_equal(scores(X), features)


def test_scores_that_there_are_not_are_one_line():
    model = create_model("resnet18", num_classes=0, **SMALL)
    for call in (model.logits, model.logits_vjp, lambda x: grad_cam(model, x, [0, 0]), optimize(model).logits):
        with pytest.raises(ValueError, match=r"^this network has no classifier and gives features.*adds one$"):
            call(X)


def test_the_engine_gives_the_features(file):
    model = create_model("resnet18", weights=file, num_classes=0)
    assert model.notes == ["the head of 4 classes was left out: the network gives its pooled features"]
    np.testing.assert_allclose(optimize(model)(X), model(X), rtol=1e-4, atol=1e-5)
    assert optimize(model)(X[:0]).shape == (0, 32)


def test_a_softmax_goes_with_the_classifier():
    model = create_model("resnet18", num_classes=0, softmax=True, **SMALL)
    assert model.softmax is None and model(X).shape == (2, 32)


def test_a_classifier_put_on_features_counts(tmp_path):
    from npresnet.nn import Linear, initialize

    model = create_model("resnet18", num_classes=0, **SMALL)
    model.fc = initialize(Linear(32, 6))
    again = load_model(save_weights(model, tmp_path / "net.npz"))
    assert again.spec.num_classes == 6
    np.testing.assert_array_equal(again.logits(X), model(X))


def test_classify_says_that_there_is_no_classifier(tmp_path, capsys):
    from PIL import Image

    from npresnet.cli import main

    file = save_weights(create_model("resnet18", num_classes=0, **SMALL), tmp_path / "net.npz")
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    assert main(["classify", "--weights", str(file), str(tmp_path / "image.png")]) == 2
    assert "this model has no classifier; read its features" in capsys.readouterr().err
