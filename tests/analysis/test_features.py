"""Values and gradients inside a network, and the maps drawn from them."""

import numpy as np
import pytest

import npresnet
from npresnet.analysis.cam import grad_cam, occlusion, resized, saliency
from npresnet.analysis.features import feature_gradients, features
from npresnet.models import build
from npresnet.nn import Sequential, initialize


@pytest.fixture(scope="module")
def model():
    return initialize(build("resnet20"), seed=1).astype(np.float64)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((2, 3, 32, 32))


def test_features_are_the_outputs_of_the_layers(model, x):
    found = features(model, x, ["bn1", "layer1.0", "layer2.1.relu", "fc"])
    stem = model.bn1(model.conv1(x))
    np.testing.assert_array_equal(found["bn1"], stem)
    np.testing.assert_array_equal(found["layer1.0"], getattr(model.layer1, "0")(model.relu(stem)))
    assert found["layer2.1.relu"].shape == found["layer2.1.relu_1"].shape == (2, 32, 16, 16)
    np.testing.assert_array_equal(found["fc"], model(x))


def test_an_inner_and_an_outer_layer_together(model, x):
    found = features(model, x, ["layer3", "layer3.2.conv2", "layer3.2"])
    np.testing.assert_array_equal(found["layer3"], found["layer3.2"])
    assert list(found) == ["layer3", "layer3.2.conv2", "layer3.2"]


def test_the_model_is_left_alone(model, x):
    before = model(x)
    feature_gradients(model, x, ["layer3"], [3, 4])
    assert all(parameter.grad is None and parameter.trainable for parameter in model.parameters())
    assert type(model.layer3).__name__ == "Sequential"
    np.testing.assert_array_equal(model(x), before)


def test_the_gradient_at_a_layer_is_the_slope_of_the_score(model, x):
    """The score's derivative along a change of conv1's output of the last block, from its filters."""
    name, classes = "layer3.2.conv1", [5, 1]
    values, grads = feature_gradients(model, x, [name], classes)
    direction = np.random.default_rng(1).standard_normal(64)

    def score(step):
        copy = model.map_arrays(np.copy)
        conv = getattr(copy.layer3, "2").conv1
        conv.weight.value = conv.weight.value + step * direction[:, None, None, None] * conv.weight.value
        return copy(x)[[0, 1], classes].sum()

    slope = (score(1e-6) - score(-1e-6)) / 2e-6
    expected = (grads[name] * values[name] * direction[:, None, None]).sum()
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_an_unknown_layer_is_named(model, x):
    with pytest.raises(ValueError, match=r"no layer layer9\.0"):
        features(model, x, ["layer9.0", "layer1"])


def test_one_layer_by_its_name_alone(model, x):
    np.testing.assert_array_equal(features(model, x, "layer1"), features(model, x, ["layer1"])["layer1"])
    runs = features(model, x, ["layer2.1.relu"])
    np.testing.assert_array_equal(features(model, x, "layer2.1.relu"), runs["layer2.1.relu_1"])  # the last


def test_without_a_name_they_are_what_the_classifier_reads(model, x):
    found = features(model, x)
    assert found.shape == (2, 64)
    np.testing.assert_array_equal(found, features(model, x, ["avgpool"])["avgpool"])
    bare = npresnet.create_model("resnet20", num_classes=0, seed=1)
    np.testing.assert_array_equal(features(bare, x.astype(np.float32)), bare(x.astype(np.float32)))
    with pytest.raises(ValueError, match="does not pool its features"):
        features(Sequential(), x)


def test_a_layer_that_the_scores_do_not_need_is_named():
    model, x = initialize(build("resnet18", softmax=True)), np.zeros((1, 3, 32, 32), np.float32)
    for ask in (lambda: features(model, x, ["layer1", "softmax"]), lambda: grad_cam(model, x, [0], after="softmax")):
        with pytest.raises(ValueError, match="nothing runs through softmax on the way to the scores"):
            ask()


def test_grad_cam_is_its_equation(model, x):
    """With global average pooling and a linear head, α is the classifier's row over H·W."""
    classes = [2, 7]
    a = features(model, x, ["layer3"])["layer3"]
    alpha = model.fc.weight.value[classes] / 64
    expected = np.maximum(np.einsum("nk,nkhw->nhw", alpha, a), 0)
    np.testing.assert_allclose(grad_cam(model, x, classes, after="layer3"), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(grad_cam(model, x, classes), grad_cam(model, x, classes, after="layer3"))


def test_grad_cam_wants_maps_and_one_class_an_image(model, x):
    with pytest.raises(ValueError, match="feature maps"):
        grad_cam(model, x, [0, 1], after="fc")
    with pytest.raises(ValueError, match="one class"):
        grad_cam(model, x, [0], after="layer3")
    with pytest.raises(ValueError, match="0 … 9"):
        grad_cam(model, x, [0, 10], after="layer3")
    with pytest.raises(ValueError, match=r"not \[0\.0, 1\.5\]"):
        grad_cam(model, x, [0.0, 1.5])
    with pytest.raises(ValueError, match="no image"):
        grad_cam(model, x[:0], [])
    with pytest.raises(ValueError, match="one layer, given by its name"):
        grad_cam(model, x, [0, 1], after=["layer3"])
    with pytest.raises(ValueError, match="has no stages: name the layer whose output to read"):
        grad_cam(Sequential(), x, [0, 1])


def test_saliency_is_the_slope_at_the_pixels(model, x):
    found = saliency(model, x, [0, 9])
    nudged = [x.copy(), x.copy()]
    slopes = []
    for channel in range(3):
        for image, sign in zip(nudged, (1, -1)):
            image[:] = x
            image[1, channel, 5, 6] += sign * 1e-6
        slopes.append((model(nudged[0])[1, 9] - model(nudged[1])[1, 9]) / 2e-6)
    np.testing.assert_allclose(found[1, 5, 6], np.abs(slopes).max(), rtol=1e-5)


def test_occlusion_is_the_loss_of_score(model, x):
    drops = occlusion(model, x, [4, 4], patch=16, stride=16, batch=3)
    covered = x.copy()
    covered[:, :, 16:, :16] = 0
    np.testing.assert_allclose(drops[:, 1, 0], model(x)[:, 4] - model(covered)[:, 4], rtol=1e-9, atol=1e-12)
    assert drops.shape == (2, 2, 2)


@pytest.mark.parametrize(
    "classes, options, message",
    [
        ([4], {}, "one class for each"),
        ([4, 99], {}, r"one class of 0 … \d+"),
        ([4, -1], {}, r"one class of 0 … \d+"),
        ([4, 4], {"patch": 0}, "patch is a whole number"),
        ([4, 4], {"stride": 0}, "stride is a whole number"),
        ([4, 4], {"stride": 1.5}, "stride is a whole number"),
        ([4, 4], {"batch": -1}, "batch is a whole number"),
    ],
)
def test_occlusion_refuses_what_it_cannot_do(model, x, classes, options, message):
    with pytest.raises(ValueError, match=message):
        occlusion(model, x, classes, **options)
    with pytest.raises(ValueError, match="images are"):
        occlusion(model, x[0], classes)


@pytest.mark.parametrize("layers", [3, [3], [None, "layer1"]])
def test_layers_are_given_by_their_names(model, x, layers):
    with pytest.raises(ValueError, match="layers are given by their names"):
        features(model, x, layers)


def test_only_a_model_can_be_looked_into(model, x):
    for look in (lambda: features(model.logits, x, "layer1"), lambda: saliency(model.logits, x, [1, 2])):
        with pytest.raises(TypeError, match="takes a model, not method"):
            look()


def test_heat_maps_that_cannot_be_shown():
    for heat, message in ((np.zeros((2, 2)), "finite and"), (np.full((1, 2, 2), np.nan), "NaN or infinity")):
        with pytest.raises(ValueError, match=message):
            resized(heat, (4, 4))


def test_resized_maps_reach_one():
    heat = resized(np.array([[[0, 1], [2, 4]]]), (8, 6))
    assert heat.shape == (1, 8, 6) and heat.dtype == np.float32
    np.testing.assert_allclose([heat.max(), heat.min()], [1, 0], atol=1e-6)


def test_grad_cam_looks_after_the_last_run_of_a_layer():
    model = npresnet.create_model("resnet18", num_classes=3)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    block, relu = (npresnet.grad_cam(model, x, [1], after=name) for name in ("layer4.1", "layer4.1.relu"))
    np.testing.assert_array_equal(relu, block)  # whose output the second run is
